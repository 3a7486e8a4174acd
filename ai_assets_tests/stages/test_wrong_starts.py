"""Every wrong start has its own clear message, and what is odd but can be read is read."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from small_product import World

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    starts = import_module("starts")
    wrong: Any = import_module("wrong_starts").WRONG
    odd: Any = import_module("odd_starts").READ
finally:
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that any user may enter: one start is tried as nobody."""
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    yield tmp_path / "data"


@pytest.mark.parametrize("start", wrong, ids=lambda start: start.name)
def test_a_wrong_start_is_told_in_its_own_words(start: Any, open_folder: Path) -> None:
    told = starts.try_start(start, open_folder, seed=2)

    assert (told.code, told.raised) == (2, "")
    assert start.says in told.words
    assert "must" in told.words


@pytest.mark.parametrize("start", odd, ids=lambda start: start.name)
def test_what_is_odd_is_read_and_no_row_of_it_is_rejected(start: Any, tmp_path: Path) -> None:
    told = starts.try_start(start, tmp_path / "data", seed=2)

    assert (told.code, told.raised) == (0, ""), told
    product = tmp_path / "data" / "products" / "churn"
    assert start.says in (product / "defs.yaml").read_text(encoding="utf-8")
    world = World.of(product, tmp_path / "home")
    table = world.product.declaration.request
    world.run(f"raw/{table}", f"cleaned/{table}", f"rejected/{table}", "labels", "features")
    assert world.rows(f"cleaned/{table}").height == world.rows("features").height >= 80
    assert world.rows(f"rejected/{table}").height == 0
    assert world.rows("labels")["label"].n_unique() == 2
