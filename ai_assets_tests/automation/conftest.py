"""The small product of `stages`, of which these tests look at the graph and the events only."""

import importlib.util
import sys
from pathlib import Path

import pytest

if "small_product" not in sys.modules:
    _file = Path(__file__).parents[1] / "stages" / "small_product.py"
    _spec = importlib.util.spec_from_file_location("small_product", _file)
    assert _spec is not None and _spec.loader is not None
    sys.modules["small_product"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["small_product"])


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small product's folder, which no test changes."""
    from small_product import NAME, write_product

    return write_product(tmp_path_factory.mktemp("automation") / NAME)
