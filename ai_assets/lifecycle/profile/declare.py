"""From rows and a target to `defs.yaml` and `features.sql`, each guess with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.profile.column_types import Typed, typed
from ai_assets.lifecycle.profile.facts import Facts, facts_of
from ai_assets.lifecycle.profile.guess import Known, guess
from ai_assets.lifecycle.profile.items import AskedItems, propose_items
from ai_assets.lifecycle.profile.keys import find_key, find_time
from ai_assets.lifecycle.profile.leaking import share_later
from ai_assets.lifecycle.profile.places import Place, read_sample
from ai_assets.lifecycle.profile.plans import plan
from ai_assets.lifecycle.profile.queries import feature_query
from ai_assets.lifecycle.profile.sample import MOST_ROWS, Sample
from ai_assets.lifecycle.profile.sql_words import table_name
from ai_assets.lifecycle.profile.target import Target, check_target, shares, target_of
from ai_assets.lifecycle.profile.write import Page, write_yaml

DEFS, FEATURES = "defs.yaml", "features.sql"


@dataclass(frozen=True)
class Asked:
    """What a person says of their data; the rest is guessed.

    Attributes:
        data: path of a CSV, NDJSON or Parquet file or of a folder of Parquet files; or the URL of
            one, or of a database.
        target: the column to predict.
        key: columns that identify a row; guessed if empty.
        time: the column of a row's moment; guessed if None, none if empty.
        table: of a database.
        query: of a database, instead of a table.
        kind: of product: tabular, image or text.
        text: of texts the column that holds them; guessed if None.
    """

    data: str | Path
    target: str | None = None
    key: Sequence[str] = ()
    time: str | None = None
    table: str | None = None
    query: str | None = None
    kind: str = "tabular"
    text: str | None = None

    @property
    def place(self) -> Place:
        """Where the rows are."""
        return Place(str(self.data), self.table, self.query)


def propose(asked: Asked, *, most: int = MOST_ROWS) -> dict[str, str]:
    """The files of a product over the data, by name: text of the declaration and of its query.

    Args:
        asked: data and target, and what else is known.
        most: rows to look at; of more, a sample.

    Raises:
        DataError: the data cannot be read, or has nothing to predict.
    """
    if asked.kind != "tabular":
        _check_for_items(asked)
        told = AskedItems(asked.kind, asked.place, asked.target, asked.text)
        return {DEFS: propose_items(told, most)}
    if asked.target is None or asked.text is not None:
        option, what = ("--text", "for --kind text") if asked.text else ("--target", "given")
        raise DataError(f"{option} must be {what}, but --kind is tabular.")
    return _propose_rows(asked, asked.target, most)


def _propose_rows(asked: Asked, wanted: str, most: int) -> dict[str, str]:
    """The files of a product over rows of a table."""
    sample = read_sample(asked.place, most)
    names = sample.frame.columns
    check_target(wanted, names, asked.place.shown)
    _check_named(asked, names)
    columns = {name: typed(sample.frame[name], words=sample.has_words) for name in names}
    target = target_of(wanted, columns[wanted])
    facts = facts_of(sample, columns)
    known = _known(asked, wanted, sample, columns, facts, target)
    values = columns[wanted].values
    guesses = [guess(n, c, facts.get(n), known, values) for n, c in columns.items()]
    if not any(one.learned for one in guesses):
        why = "; ".join(f"{one.name}: {one.reason}" for one in guesses if one.reason)[:600]
        raise DataError(
            f"'{asked.place.shown}' must have a column to learn from beside '{wanted}', but "
            f"has none: {why}"
        )
    planned = plan(sample, target, known.time, facts, columns)
    page = Page(
        sample,
        table_name(sample.name.split(".")[0]),
        guesses,
        known,
        target,
        shares(values) if target.task != "regression" else "",
        _words_for_missing(columns),
        planned,
    )
    return {DEFS: write_yaml(page), FEATURES: feature_query(guesses, planned.calendar, known.time)}


def _check_for_items(asked: Asked) -> None:
    for option, given in (("--key", asked.key), ("--time", asked.time)):
        if given:
            raise DataError(
                f"{option} must go with --kind tabular, but --kind is {asked.kind}: a picture or "
                "text is known by its file or content, and has no partitions before you say so."
            )
    if asked.text is not None and asked.kind != "text":
        raise DataError(f"--text must go with --kind text, but --kind is {asked.kind}.")


def _check_named(asked: Asked, names: list[str]) -> None:
    named = [("--key", name) for name in asked.key]
    named += [("--time", asked.time)] if asked.time else []
    for option, name in named:
        if name not in names or not name.strip():
            raise DataError(
                f"{option} must name columns of '{asked.place.shown}', but got '{name}'."
                f"{did_you_mean(name, names)}"
            )


def _known(
    asked: Asked,
    wanted: str,
    sample: Sample,
    columns: dict[str, Typed],
    facts: dict[str, Facts],
    target: Target,
) -> Known:
    time = asked.time or None
    if asked.time is None:
        time = find_time(columns, facts, wanted, sample.rows)
    if time is not None and columns[time].type not in ("date", "datetime"):
        raise DataError(
            f"--time must name a column of dates or moments in ISO form, such as 2024-05-31, but "
            f"'{time}' is {columns[time].type}."
        )
    key, reason = list(asked.key), "as asked"
    if not key:
        in_time = {n: c for n, c in columns.items() if not _is_late(c, columns, time)}
        key, reason = find_key(sample, in_time, facts, wanted)
    return Known(
        key,
        reason,
        time,
        wanted,
        target.task,
        list(target.allowed),
        columns[time].values if time is not None else None,
    )


def _is_late(column: Typed, columns: dict[str, Typed], time: str | None) -> bool:
    """Whether a column is known only after its row's moment: nobody can name a row by it."""
    if column.type not in ("date", "datetime"):
        return False
    moments = columns[time].values if time is not None else None
    return share_later(column.values, moments) is not None


def _words_for_missing(columns: dict[str, Typed]) -> list[str]:
    return sorted({word for column in columns.values() for word in column.missing})
