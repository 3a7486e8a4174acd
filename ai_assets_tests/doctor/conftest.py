"""A checkout of the tests' own to be examined, with a state folder as `make setup` makes it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai_assets.doctor.place import Place

NOBODY = 65534


def checkout(folder: Path, repo: Path) -> Place:
    """What the doctor reads of a checkout, and the `.env` that `make setup` writes."""
    for name in ("pyproject.toml", "requirements.lock", "dagster.yaml", "deploy/write_env.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repo / name, folder / name)
    products = folder / "ai_assets" / "products"
    shutil.copytree(repo / "ai_assets" / "products" / "digit_reading", products / "digit_reading")
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    subprocess.run([folder / "deploy" / "write_env.sh"], env=clean, check=True, timeout=60)
    return Place(folder, given=clean, products=products)


@pytest.fixture
def place(tmp_path: Path, repo_root: Path) -> Place:
    """A checkout without a fault."""
    return checkout(tmp_path / "checkout", repo_root)


@pytest.fixture
def open_place(repo_root: Path) -> Iterator[Place]:
    """A checkout in a folder that every user may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="checkout-") as folder:
        Path(folder).chmod(0o755)
        yield checkout(Path(folder), repo_root)


@pytest.fixture
def as_nobody():
    """Run a block as a user whom modes of folders concern, as they do not concern root."""

    @contextmanager
    def changed() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)

    return changed
