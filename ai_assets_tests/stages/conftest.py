"""A small product, written once and materialized once for all tests here."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ai_assets.serving.record.answers import Described
from ai_assets.serving.record.store import Store, open_store


def _beside(module: str, file: str) -> ModuleType:
    """Import a helper that lies beside this file, under a name that every test here can use."""
    spec = importlib.util.spec_from_file_location(module, Path(__file__).parent / file)
    assert spec is not None and spec.loader is not None
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])
    return sys.modules[module]


small = _beside("small_product", "small_product.py")
_beside("challengers", "challengers.py")
_beside("hiring", "hiring.py")
entries = _beside("served_entries", "served_entries.py")
_beside("serving_processes", "../serving/processes.py")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small product's folder, which no test changes."""
    return small.write_product(tmp_path_factory.mktemp("product") / small.NAME)


@pytest.fixture(scope="session")
def shared_world(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "small.World":
    """The materialized small product, only to be read: files share it in any order."""
    return small.lived(shared_folder, tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def own_world(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "small.World":
    """The same of one file's own, which its tests add to."""
    return small.lived(shared_folder, tmp_path_factory.mktemp("own"))


@pytest.fixture
def log(world: "small.World", tmp_path: Path) -> Store:
    """The log of the test's `world`, which knows how to read the answers of `served_entries`."""
    store = open_store(str(tmp_path / f"{small.NAME}.sqlite"))
    described = Described.of(entries.BUNDLE, world.product.request_table, entries.ENCODING)
    store.write([described])
    return store


@pytest.fixture
def copied(shared_world: "small.World", tmp_path: Path) -> "small.World":
    """The materialized small product of this test's own, sources included."""
    return small.copy_of(shared_world, tmp_path)


@pytest.fixture(scope="session")
def challenged_world(shared_world: "small.World", tmp_path_factory: pytest.TempPathFactory):
    """The same with a challenger as of March beside the release as of February; only to be read."""
    world = small.copy_of(shared_world, tmp_path_factory.mktemp("challenged"))
    world.runs["challenger"] = world.run(*small.LEARNING, partition=small.MARCH)
    return world


@pytest.fixture
def challenged(challenged_world: "small.World", tmp_path: Path) -> "small.World":
    """The challenged product of this test's own."""
    return small.copy_of(challenged_world, tmp_path)
