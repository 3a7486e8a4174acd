"""A first feature query: every column that is known when somebody asks."""

from ai_assets.lifecycle.profile.guess import Guess
from ai_assets.lifecycle.profile.sql_words import quoted

_HEAD = """\
-- What models see of a row. One DuckDB SELECT from `request`; other tables may be joined.
-- The same text runs over the past and in the server.
"""


def feature_query(guesses: list[Guess], spans: bool, time: str | None) -> str:
    """The text of `features.sql`.

    Args:
        guesses: every column of the table.
        spans: whether the data lies over some months or years, so that the season can be told.
        time: column of the rows' moments.
    """
    taken = {one.name.casefold() for one in guesses}
    lines = ["r._row_id"]
    for one in guesses:
        if one.use == "time":
            lines += _of_time(one, spans, taken)
        elif one.learned:
            lines += _of_column(one, time, taken)
    return f"{_HEAD}SELECT\n    " + ",\n    ".join(lines) + "\nFROM request AS r\n"


def _of_column(one: Guess, time: str | None, taken: set[str]) -> list[str]:
    column = f"r.{quoted(one.name)}"
    if one.type not in ("date", "datetime"):
        return [column]
    if time is not None:
        alias = _free(f"{one.name}_days_before", taken)
        return [f"(epoch(r.{quoted(time)}) - epoch({column})) / 86400 AS {quoted(alias)}"]
    alias = _free(f"{one.name}_days", taken)
    # Days since 2000, not seconds since 1970: models compute in single precision.
    return [f"epoch({column}) / 86400 - 10957 AS {quoted(alias)}"]


def _of_time(one: Guess, spans: bool, taken: set[str]) -> list[str]:
    column, parts = f"r.{quoted(one.name)}", ["isodow"]
    if one.type == "datetime":
        parts.append("hour")
    if spans:
        parts.append("month")
    return [f"{part}({column}) AS {quoted(_free(f'{one.name}_{part}', taken))}" for part in parts]


def _free(name: str, taken: set[str]) -> str:
    while name.casefold() in taken:
        name += "_"
    taken.add(name.casefold())
    return name
