"""A first feature query: every column that is known when somebody asks."""

from ai_assets.lifecycle.features.reserved import ROW_COLUMNS
from ai_assets.lifecycle.profile.calendar import Calendar, free_name
from ai_assets.lifecycle.profile.guess import Guess
from ai_assets.lifecycle.profile.plain_yaml import comment
from ai_assets.lifecycle.profile.sql_words import quoted

_HEAD = """\
-- What models see of a row. One DuckDB SELECT from `request`; other tables may be joined.
-- The same text runs over the past and in the server.
"""


def feature_query(guesses: list[Guess], calendar: Calendar, time: str | None) -> str:
    """The text of `features.sql`.

    Args:
        guesses: every column of the table.
        calendar: what to read of the rows' moments.
        time: column of the rows' moments.
    """
    taken = {name.casefold() for name in calendar.features.values()}
    taken |= {one.name.casefold() for one in guesses}
    lines = ["r._row_id"]
    for one in guesses:
        if one.use == "time":
            lines += _of_time(one, calendar)
        elif one.learned:
            lines += _of_column(one, time, taken)
    head = _HEAD + "".join(f"-- {comment(words)}\n" for words in calendar.left_out)
    return f"{head}SELECT\n    " + ",\n    ".join(lines) + "\nFROM request AS r\n"


def _of_column(one: Guess, time: str | None, taken: set[str]) -> list[str]:
    column = f"r.{quoted(one.name)}"
    if one.type not in ("date", "datetime"):
        if one.name not in ROW_COLUMNS:
            return [column]
        return [f"{column} AS {quoted(free_name(f'{one.name}_given', taken))}"]
    if time is not None:
        alias = free_name(f"{one.name}_days_before", taken)
        return [f"(epoch(r.{quoted(time)}) - epoch({column})) / 86400 AS {quoted(alias)}"]
    alias = free_name(f"{one.name}_days", taken)
    # Days since 2000, not seconds since 1970: models compute in single precision.
    return [f"epoch({column}) / 86400 - 10957 AS {quoted(alias)}"]


def _of_time(one: Guess, calendar: Calendar) -> list[str]:
    column = f"r.{quoted(one.name)}"
    return [f"{part}({column}) AS {quoted(name)}" for part, name in calendar.features.items()]
