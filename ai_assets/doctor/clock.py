"""Whether the clock is where the files of state and checkout say that it must be."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from ai_assets.doctor.line import Line, ok, problem, warning
from ai_assets.doctor.place import Place

_SECONDS_AHEAD = 60.0
_MOST_FILES = 50_000
_WATCHED_S = 0.2
_MOST_OFF_S = 0.1


def clock(place: Place) -> Iterator[Line]:
    """Whether now is after all that was written, and the clock goes as fast as time."""
    now = time.time()
    newest, file = _newest(place)
    do = "set the clock: timedatectl set-ntp true"
    if newest > now + _SECONDS_AHEAD:
        found = f"It is {_said(now)}, but {file} was written at {_said(newest)}."
        yield problem("clock", f"{found} Releases and records would be out of order.", do)
        return
    before = time.time(), time.monotonic()
    time.sleep(_WATCHED_S)
    off = (time.time() - before[0]) - (time.monotonic() - before[1])
    if abs(off) > _MOST_OFF_S:
        found = f"It was put {off:+.2f} s within {_WATCHED_S} s: something is setting it."
        yield warning("clock", found, "wait until it is set")
    else:
        yield ok("clock", f"{_said(now)}, after all that was written.")


def _newest(place: Place) -> tuple[float, Path]:
    """The latest time of a file of the state and of the checkout's lock file, and which it is."""
    files = [place.project / "pyproject.toml"]
    files += islice((f for f in place.home.rglob("*") if f.is_file()), _MOST_FILES)
    return max((file.stat().st_mtime, file) for file in files if file.is_file())


def _said(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
