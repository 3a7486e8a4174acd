"""One pass over a table's rows that splits them by the contract, in bounded memory.

Rows pass in batches; good and rejected ones go to spools. What stays in memory is one hash of
8 bytes a row, by which duplicates are found at the end; of items also what `near` says.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from ai_assets.lifecycle.cleaning.identity import occurrences, repeated, row_hashes, row_ids
from ai_assets.lifecycle.cleaning.near import Lookout, general, only_repeats
from ai_assets.lifecycle.cleaning.rules import Rule, cast_columns, is_cast, raw_name, table_rules
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.schema.files import UNREAD
from ai_assets.lifecycle.schema.near import Near
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.casts import text_of
from ai_assets.lifecycle.sources.spool import Frames, Spool

BATCH_ROWS = 100_000


@dataclass(frozen=True)
class CleaningCounts:
    """The account: raw = cleaned + rejected + duplicates.

    `by_rule` counts each rule's rows; a row that breaks two rules is counted under both.
    `repeats` are the rejected rows that meet the contract and only nearly repeat another,
    `differing` the duplicates whose values are others than those of the row that stays. `doubled`
    says of a table without a key whether all of it is there several times over.
    """

    raw: int
    cleaned: int
    rejected: int
    duplicates: int
    by_rule: dict[str, int]
    repeats: int = 0
    differing: int = 0
    doubled: bool = False


@dataclass(frozen=True)
class Cleaned:
    """A table split by its contract.

    `good`: `_row_id` and the declared columns with the declared types, in the source's order.
    `rejected`: `_row_id`, `_rule` (the broken rules in words) and the raw columns as text.
    """

    good: pl.LazyFrame
    rejected: pl.LazyFrame
    counts: CleaningCounts


def clean(raw: pl.LazyFrame, table: Table, near: Near | None = None) -> Cleaned:
    """Cast the rows to the declared types, hold them to the rules and resolve duplicates.

    Args:
        raw: rows with at least the declared columns, of any type (see `check_columns`).
        table: the declaration.
        near: which items that nearly repeat another are rejected (see `near`).

    Returns:
        The good rows, the rejected rows and the exact account. Rows with a key in `table.key` are
        resolved as `table.duplicates` says; without a key, equal rows all stay, unless `near` says
        otherwise.
    """
    given = raw.collect_schema()
    names = [*table.columns, *({UNREAD} & set(given))]
    raw = raw.select(names)
    given = raw.collect_schema()
    sieve = _Sieve(given, table, near)
    for batch in _batches(raw, given):
        sieve.add(batch)
    return sieve.finish(raw)


def _batches(raw: pl.LazyFrame, given: pl.Schema) -> Frames:
    return raw.collect_batches(chunk_size=batch_rows(given), maintain_order=True)


def batch_rows(schema: pl.Schema) -> int | None:
    """How many rows to hold at once: of files as many as their source gave, which counts bytes."""
    return None if pl.Binary in schema.values() else BATCH_ROWS


class _Sieve:
    """The state of one pass."""

    def __init__(self, given: pl.Schema, table: Table, near: Near | None) -> None:
        self.table = table
        self.names = list(table.columns)
        self.given = given
        self.casts = cast_columns(given, table)
        self.rules = table_rules(given, table)
        cast_ones = [n for n in self.names if is_cast(table.columns[n], given[n])]
        self.aside = [_raw(n, given[n]) for n in cast_ones]
        self.good = Spool(pl.Schema({n: TYPES[c.type] for n, c in table.columns.items()}))
        text = {n: pl.String() for n in self.names}
        self.rejected = Spool(pl.Schema({"_rule": pl.String(), **text}))
        # Kept only where a later row can still throw an earlier one out.
        self.suspects = Spool(pl.Schema(text)) if self._rejects_duplicates else None
        self.lookout = Lookout(table, near) if near is not None else None
        self.places: list[np.ndarray] = []
        self.hashes: list[np.ndarray] = []
        self.by_rule: Counter[str] = Counter()
        self.raw = 0

    @property
    def _rejects_duplicates(self) -> bool:
        return bool(self.table.key) and self.table.duplicates == "reject"

    def add(self, batch: pl.DataFrame) -> None:
        self.raw += batch.height
        typed = batch.with_columns(*self.aside).with_columns(self.casts)
        broken = typed.select(
            rule.broken.fill_null(False).alias(str(i)) for i, rule in enumerate(self.rules)
        )
        bad = broken.select(pl.any_horizontal(pl.all())).to_series() if self.rules else None
        if bad is not None and bad.any():
            self._reject(batch.filter(bad), broken.filter(bad))
            typed, batch = typed.filter(~bad), batch.filter(~bad)
        good = typed.select(self.names)
        if self.lookout is not None:
            self.lookout.add(good)
            passed = np.ones(good.height, bool) if bad is None else ~bad.to_numpy()
            self.places.append(self.raw - len(passed) + np.flatnonzero(passed))
        self.hashes.append(row_hashes(good, self.table.key or self.names))
        self.good.add(good)
        if self.suspects is not None:
            self.suspects.add(as_text(batch.select(self.names)))

    def finish(self, raw: pl.LazyFrame) -> Cleaned:
        hashes = np.concatenate(self.hashes) if self.hashes else np.empty(0, np.uint64)
        keep: np.ndarray | None = None
        doubled = False
        if self.table.key:
            ids, keep = row_ids(hashes), _kept(hashes, self.table.duplicates)
        else:
            again = occurrences(hashes)
            ids = row_ids(hashes, again)
            # Of items those that repeat others are rejected below.
            doubled = self.lookout is None and _is_doubled(again)
        duplicates = 0 if keep is None else int((~keep).sum())
        if self.suspects is not None and keep is not None and duplicates:
            self._reject_duplicates(keep)
            duplicates = 0
        differing = 0 if keep is None or not duplicates else self._differing(hashes, keep)
        repeats = 0
        if self.lookout is not None:
            going, words = self.lookout.find(keep, ids)
            repeats = self._reject_repeats(raw, going, words)
            if len(going):
                keep = np.ones(len(ids), bool) if keep is None else keep.copy()
                keep[going] = False
        cleaned = len(ids) if keep is None else int(keep.sum())
        counts = CleaningCounts(
            self.raw,
            cleaned,
            self.rejected.rows,
            duplicates,
            dict(self.by_rule),
            repeats=repeats,
            differing=differing,
            doubled=doubled,
        )
        schema = pl.Schema({"_row_id": pl.Int64(), **self.good.schema})
        good = self.good.lazy(partial(_with_ids, ids=ids, keep=keep), schema)
        return Cleaned(good, self._identified_rejects(), counts)

    def _reject(self, rows: pl.DataFrame, broken: pl.DataFrame) -> None:
        words = _words(broken, self.rules)
        for i, count in enumerate(broken.sum().row(0)):
            if count:
                self.by_rule[self.rules[i].words] += count
        self.rejected.add(as_text(rows.select(self.names)).insert_column(0, words))

    def _reject_duplicates(self, keep: np.ndarray) -> None:
        assert self.suspects is not None
        rule = f"another row has the same key ({', '.join(self.table.key)})"
        start = 0
        for frame in self.suspects.frames():
            twice = frame.filter(pl.Series(~keep[start : start + frame.height]))
            start += frame.height
            self.by_rule[rule] += twice.height
            self.rejected.add(twice.insert_column(0, pl.Series("_rule", [rule] * twice.height)))

    def _differing(self, hashes: np.ndarray, keep: np.ndarray) -> int:
        """How many rows that go hold other values than the row of their key that stays."""
        several, contents, start = repeated(hashes), [], 0
        for frame in self.good.frames():
            those = frame.filter(pl.Series(several[start : start + frame.height]))
            contents.append(row_hashes(those, self.names))
            start += frame.height
        rows = pl.DataFrame(
            {"key": hashes[several], "row": np.concatenate(contents), "stays": keep[several]}
        )
        stay = rows.filter("stays").select("key", other="row")
        gone = rows.filter(~pl.col("stays")).join(stay, on="key")
        return gone.filter(pl.col("row") != pl.col("other")).height

    def _reject_repeats(self, raw: pl.LazyFrame, rows: np.ndarray, words: list[str]) -> int:
        """Reject good rows by number, read once more as they came; how many only repeat."""
        if not len(rows):
            return 0
        said = dict(zip(np.concatenate(self.places)[rows].tolist(), words, strict=True))
        self.by_rule.update(general(word) for word in words)
        start = 0
        for batch in _batches(raw, self.given):
            there = [start + i for i in range(batch.height) if start + i in said]
            if there:
                found = batch[[place - start for place in there]].select(self.names)
                rule = pl.Series("_rule", [said[place] for place in there], pl.String)
                self.rejected.add(as_text(found).insert_column(0, rule))
            start += batch.height
        return int(pl.DataFrame({"r": words}).select(only_repeats(pl.col("r")).sum()).item())

    def _identified_rejects(self) -> pl.LazyFrame:
        """A rejected row may have no key, so it is identified by its content."""
        parts = [row_hashes(frame, self.names) for frame in self.rejected.frames()]
        hashes = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        ids = row_ids(hashes, occurrences(hashes))
        schema = pl.Schema({"_row_id": pl.Int64(), **self.rejected.schema})
        return self.rejected.lazy(partial(_with_ids, ids=ids, keep=None), schema)


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column as text; nested values as JSON."""
    return frame.select(text_of(name, kind) for name, kind in frame.schema.items())


def _raw(name: str, kind: pl.DataType) -> pl.Expr:
    """The raw value beside the cast one; NaN in a number column is how some sources say missing."""
    value = pl.col(name).fill_nan(None) if kind.is_float() else pl.col(name)
    return value.alias(raw_name(name))


def _words(broken: pl.DataFrame, rules: list[Rule]) -> pl.Series:
    said = [pl.when(pl.col(str(i))).then(pl.lit(rule.words)) for i, rule in enumerate(rules)]
    joined = pl.concat_str(said, separator="; ", ignore_nulls=True).alias("_rule")
    return broken.select(joined).to_series()


def _kept(hashes: np.ndarray, duplicates: str) -> np.ndarray | None:
    """Which rows [n] survive, or None if no key occurs twice."""
    several = repeated(hashes)
    if not several.any():
        return None
    keep, those = ~several, pl.Series(hashes[several])
    if duplicates != "reject":
        stays = those.is_first_distinct() if duplicates == "first" else those.is_last_distinct()
        keep[several] = stays.to_numpy()
    return keep


def _is_doubled(occurrences: np.ndarray) -> bool:
    """Whether each row is there two times, or each three times or any multiple of that, and so on.

    Of few different rows each may well be there again, but not in step.
    """
    reached = np.append(np.bincount(occurrences), 0)  # how many different rows are there that often
    often = np.flatnonzero(reached[:-1] > reached[1:]) + 1
    return bool(len(often)) and int(np.gcd.reduce(often)) > 1


def _with_ids(frames: Frames, ids: pl.Series, keep: np.ndarray | None) -> Frames:
    start = 0
    for frame in frames:
        stop = start + frame.height
        whole = pl.DataFrame([ids[start:stop], *frame.get_columns()])
        yield whole if keep is None else whole.filter(pl.Series(keep[start:stop]))
        start = stop
