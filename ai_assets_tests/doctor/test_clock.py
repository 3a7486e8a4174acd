"""The clock against what was written."""

import os
import time

from ai_assets.doctor.clock import clock
from ai_assets.doctor.place import Place


def test_a_clock_after_all_that_was_written_is_fine(place: Place) -> None:
    (line,) = clock(place)

    assert line.mood == "ok" and line.found.endswith("UTC, after all that was written.")


def test_a_clock_that_went_back_behind_the_state_is_a_problem(place: Place) -> None:
    file = place.home / "lake" / "release"
    file.parent.mkdir()
    file.touch()
    os.utime(file, (time.time() + 86_400,) * 2)

    (line,) = clock(place)

    assert line.mood == "problem"
    assert f"but {file} was written at " in line.found
