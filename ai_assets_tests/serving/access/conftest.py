"""A gate for every test of who may ask."""

from pathlib import Path

import pytest
from gated_app import Place

from ai_assets.serving.access.store import KeyStore


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A gate that asks for keys, without any yet."""
    return Place(KeyStore(tmp_path / "access.sqlite"))
