"""The small product of `stages`, of which these tests look at the graph and the events only."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _beside(module: str, file: Path) -> None:
    """Import a helper under a name that every test here can use."""
    if module in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(module, file)
    assert spec is not None and spec.loader is not None
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])


_HERE = Path(__file__).parent
_beside("small_product", _HERE.parent / "stages" / "small_product.py")
_beside("canary_trials", _HERE / "canary_trials.py")
_beside("retraining_loops", _HERE / "retraining_loops.py")


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small product's folder, which no test changes."""
    from small_product import NAME, write_product

    return write_product(tmp_path_factory.mktemp("automation") / NAME)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes a trial of the small product with a log of its own."""
    from canary_trials import ROLLOUT, Trial
    from small_product import World, write_product

    def make(**rollout: Any) -> Trial:
        folder = write_product(tmp_path / "late_orders", rollout=ROLLOUT | rollout)
        monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "log.sqlite"))
        return Trial(World.of(folder, tmp_path / "home"), tmp_path / "log.sqlite")

    return make


@pytest.fixture
def trial(made: Callable[..., Any]) -> Any:
    """A trial as the small product declares it."""
    return made()


@pytest.fixture
def declared(tmp_path: Path) -> Callable[..., Any]:
    """Makes a loop of a product that declares something else."""
    from retraining_loops import Loop
    from small_product import World, write_product

    def make(**changes: Any) -> Loop:
        folder = write_product(tmp_path / "late_orders", **changes)
        return Loop(World.of(folder, tmp_path / "home"), tmp_path)

    return make
