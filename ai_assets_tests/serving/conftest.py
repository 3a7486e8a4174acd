"""A signed bundle, a lake and a client, for every test of serving."""

import importlib.util
import sys
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient


def _beside(module: str, file: str) -> ModuleType:
    """Import a helper that lies beside this file, under a name that every test here can use."""
    spec = importlib.util.spec_from_file_location(module, Path(__file__).parent / file)
    assert spec is not None and spec.loader is not None
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])
    return sys.modules[module]


small = _beside("small_payload", "small_payload.py")
several = _beside("classes_payload", "classes_payload.py")
_beside("claims_payload", "claims_payload.py")
_beside("items_payload", "items_payload.py")
_beside("serving_processes", "processes.py")
_beside("slow_batches", "slow_batches.py")
_beside("v2_requests", "v2_requests.py")
_beside("values_payload", "values_payload.py")
_beside("record_entries", "record/entries.py")
_beside("release_worlds", "release_worlds.py")
_beside("test_certificates", "certificates.py")
_beside("loopback_issuer", "access/issuer.py")
_beside("gated_app", "access/gated.py")
postgres_server = _beside("postgres_server", "postgres.py")


@pytest.fixture(scope="session", autouse=True)
def _log_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers of tests record below a folder of the session, not in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_ASSETS_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _open_to_this_machine() -> Iterator[None]:
    """Servers ask for no key, but in the tests of keys; clients of tests ask from loopback."""
    local = partialmethod(
        TestClient.__init__, client=("127.0.0.1", 50000), headers={"Host": "localhost"}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_ASSETS_ACCESS", "open")
        patch.setattr(TestClient, "__init__", local)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server; no test stops it."""
    with postgres_server.server() as running:
        yield running


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A signed payload of this test's own, to damage as it likes."""
    return small.signed_payload(tmp_path / "payload", tmp_path)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `payload` and `lake`, which no test changes."""
    folder = tmp_path_factory.mktemp("served")
    small.signed_payload(folder / "payload", folder)
    small.write_weather(folder / "lake")
    return folder


@pytest.fixture(scope="session")
def of_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `shared`, of a product that tells several classes apart."""
    folder = tmp_path_factory.mktemp("classes")
    several.signed_payload(folder / "payload", folder)
    small.write_weather(folder / "lake")
    return folder


@pytest.fixture(scope="session")
def client(shared: Path) -> Iterator[TestClient]:
    """The running app."""
    from ai_assets.serving.app import create_app
    from ai_assets.serving.settings import Settings

    settings = Settings(lake=str(shared / "lake"), max_rows=20)
    with TestClient(create_app(shared / "payload", settings)) as running:
        yield running
