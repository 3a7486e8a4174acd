"""What a check says: how it went, what was found, and what to do."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Mood = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Line:
    """One check.

    Attributes:
        check: What was looked at.
        mood: `ok`; `warning`: it works, but somebody should look; `problem`: something will fail.
        found: What was found, in one sentence.
        do: What to do about it; empty where nothing is to be done.
    """

    check: str
    mood: Mood
    found: str
    do: str = ""


def ok(check: str, found: str) -> Line:
    return Line(check, "ok", _one_line(found))


def warning(check: str, found: str, do: str) -> Line:
    return Line(check, "warning", _one_line(found), do)


def problem(check: str, found: str, do: str) -> Line:
    return Line(check, "problem", _one_line(found), do)


def as_text(lines: Sequence[Line]) -> str:
    """A line a check, in columns, and how many were of which mood."""
    wide = max((len(line.check) for line in lines), default=0)
    rows = [
        f"{line.mood:<8} {line.check:<{wide}}  {line.found}{f' Do: {line.do}' if line.do else ''}"
        for line in lines
    ]
    return "\n".join([*rows, "", tally(lines)])


def as_json(lines: Sequence[Line]) -> str:
    """An object with `healthy` and the lines."""
    return json.dumps({"healthy": healthy(lines), "checks": [asdict(one) for one in lines]})


def tally(lines: Iterable[Line]) -> str:
    moods = [line.mood for line in lines]
    return ", ".join(f"{mood}: {moods.count(mood)}" for mood in ("problem", "warning", "ok"))


def healthy(lines: Iterable[Line]) -> bool:
    return all(line.mood != "problem" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())
