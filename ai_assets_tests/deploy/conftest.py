"""What the tests of deploy/ share."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _beside(module: str, file: str) -> None:
    """Import a helper that lies beside this file, under a name that every test here can use."""
    spec = importlib.util.spec_from_file_location(module, Path(__file__).parent / file)
    assert spec is not None and spec.loader is not None
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])


_beside("deploy_world", "world.py")
_beside("postgres_server", "../serving/postgres.py")

from deploy_world import Secrets  # noqa: E402


@pytest.fixture(scope="session")
def stack_secrets(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    """Secrets of a stack of the tests' own."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine: install the package 'openssl'")
    folder = tmp_path_factory.mktemp("stack")
    done = subprocess.run(
        [repo_root / "deploy" / "init_stack.sh", "ada"],
        env={**os.environ, "STACK_DIR": str(folder)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    _, user, password = done.stdout.split(": ")[1].strip().partition("ada")
    return Secrets(folder, user, password.strip())
