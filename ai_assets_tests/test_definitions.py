"""Loading definitions leaves the process's garbage collector as it was."""

import gc

import pytest

from ai_assets.definitions import definitions_are_kept


@pytest.mark.parametrize("looking", [True, False])
def test_definitions_are_kept_out_of_the_collectors_way(looking: bool) -> None:
    gc.enable() if looking else gc.disable()
    gc.unfreeze()
    try:
        with definitions_are_kept():
            assert not gc.isenabled()
        assert gc.isenabled() is looking
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_definitions_that_cannot_be_made_leave_the_collector_on() -> None:
    with pytest.raises(ValueError, match="no such product"), definitions_are_kept():
        raise ValueError("no such product")
    assert gc.isenabled()
