"""A gate for every test of who may ask."""

from pathlib import Path

import pytest
from gated_app import Place

from ai_assets.serving.access.sqlite import KeyFile


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A gate that asks for keys, without any yet."""
    return Place(KeyFile(tmp_path / "access.sqlite"))
