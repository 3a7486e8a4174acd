"""A world whose releases a server follows."""

from pathlib import Path

import pytest
from release_worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of this test's own, without a release yet."""
    return World(tmp_path / "world")
