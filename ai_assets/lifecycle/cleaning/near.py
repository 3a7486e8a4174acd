"""Items that nearly repeat another one of the same table and partition, and which of them stay.

A copy of an item that a model learned from tells nothing of how it does on new ones: where one is
among the rows that judge, the figures are better than the model. Splitting by time or by hash of
the row does not keep them apart, so they are taken out before.

What is not compared: items of other partitions. A picture of January that comes again in March is
there twice, and is kept apart by the split, which is by time wherever there are partitions.
"""

from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl

from ai_assets.lifecycle.cleaning import near_images, near_texts
from ai_assets.lifecycle.cleaning.shelf import Shelf
from ai_assets.lifecycle.schema.near import Near
from ai_assets.lifecycle.schema.tables import Table

_NEAR = " is a near-duplicate of "
_OTHER = " is a near-duplicate with another "


class Repeated(NamedTuple):
    """A row that goes: the row that it nearly repeats, and whether their labels differ."""

    row: int
    of: int
    conflict: bool


class Lookout:
    """Collects the items of a table as its rows pass, and finds those that nearly repeat another.

    What stays in memory is about 100 bytes of numbers a picture and 400 a text, and the columns of
    key and label; the items themselves lie in a file where they are many.
    """

    def __init__(self, table: Table, near: Near) -> None:
        self._near, self._column = near, table.columns[near.item]
        named = table.key or ([table.source.path] if table.source.folder else [])
        shown = not any(table.columns[name].personal for name in named)
        self._named = named if shown else []
        self._shelf = Shelf()
        self._numbers: list[np.ndarray] = []
        self._digests: list[int] = []
        self._facts: list[pl.DataFrame] = []

    def add(self, good: pl.DataFrame) -> None:
        """Take in rows that meet the contract; a missing item is like no other."""
        facts = [_joined(good, columns, name) for name, columns in self._asked().items()]
        self._facts.append(pl.DataFrame([good[self._near.item].is_not_null().alias("is"), *facts]))
        values = good[self._near.item].to_list()
        within = self._near.declared.within
        if self._column.type == "image":
            shape = self._column.shape
            items = [value or bytes(int(np.prod(shape))) for value in values]
            self._numbers.append(near_images.described(items, shape))
        else:
            texts = [near_texts.plain(value or "") for value in values]
            self._numbers.append(near_texts.described(texts, within))
            items = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._shelf.add(items)
        digests = (blake2b(item, digest_size=8).digest() for item in items)
        self._digests += [int.from_bytes(digest, "big") for digest in digests]

    def find(self, keep: np.ndarray | None, ids: pl.Series) -> tuple[np.ndarray, list[str]]:
        """The rows that go, in their order, and of each the reason in words.

        Args:
            keep: which rows [n] are left, None for all; others are not compared.
            ids: `_row_id` of all rows.
        """
        facts = (
            pl.concat(self._facts)
            if self._facts
            else pl.DataFrame({"is": pl.Series([], dtype=pl.Boolean)})
        )
        there = facts["is"].to_numpy()
        rows = np.flatnonzero(there if keep is None else there & keep)
        groups = self._groups(rows)
        labels = facts["label"] if "label" in facts.columns else None
        found = sorted(
            repeated
            for group in groups
            for repeated in _going(group, labels, self._near.declared.conflicts)
        )
        words = [self._words(each, facts, ids) for each in found]
        return np.array([each.row for each in found], dtype=np.int64), words

    def _asked(self) -> dict[str, list[str]]:
        asked = {"name": self._named, "label": list(self._near.labels)}
        return {name: columns for name, columns in asked.items() if columns}

    def _groups(self, rows: np.ndarray) -> list[list[int]]:
        """Rows of items that are nearly the same, each group in the rows' order."""
        if not len(rows):
            return []
        digests = np.array(self._digests, dtype=np.uint64)[rows]
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        order = np.argsort(first)  # of different items in the order in which they came
        different = rows[first[order]]
        numbers = np.concatenate(self._numbers)[different]
        leader = different[self._leaders(numbers, different)]
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        groups = defaultdict(list)
        for row, of in zip(rows.tolist(), leader[place[inverse]].tolist(), strict=True):
            groups[of].append(row)
        return [group for group in groups.values() if len(group) > 1]

    def _leaders(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        def read(places: np.ndarray) -> list[bytes]:
            return self._shelf.read(rows[places])

        within = self._near.declared.within
        if self._column.type == "image":
            return near_images.leaders(numbers, read, self._column.shape, within)
        return near_texts.leaders(numbers, read, within)

    def _words(self, repeated: Repeated, facts: pl.DataFrame, ids: pl.Series) -> str:
        row, of, conflict = repeated
        name = facts["name"][of] if self._named else None
        who = f"{', '.join(self._named)} {name}" if name else f"row {ids[of]}"
        if not conflict:
            return f"{self._near.item}{_NEAR}{who}"
        own, theirs = facts["label"][row], facts["label"][of]
        labels = ", ".join(self._near.labels)
        return f"{self._near.item}{_OTHER}{labels} than {who}: {own}, not {theirs}"


def general(rule: str) -> str:
    """The words of a rule without what they say of one row, to count by."""
    for mark, end in ((_NEAR, " of "), (_OTHER, " than ")):
        head, found, tail = rule.partition(mark)
        if found:
            return head + (mark.removesuffix(end) if mark == _NEAR else mark + tail.split(end)[0])
    return rule


def only_repeats(rule: pl.Expr) -> pl.Expr:
    """Whether a rejected row meets the contract, and only repeats another one."""
    return rule.str.contains(_NEAR, literal=True)


def _going(group: list[int], labels: pl.Series | None, conflicts: str) -> Iterator[Repeated]:
    """Those rows of a group that do not stay."""
    told = {row: None if labels is None else labels[row] for row in group}
    known = {label: row for row, label in reversed(told.items()) if label is not None}
    first = min(known.values(), default=group[0])
    if len(known) < 2 or conflicts == "first":
        stay = dict.fromkeys(group, first)
    elif conflicts == "each":
        stay = {row: known.get(label, first) for row, label in told.items()}
    else:
        other = {own: min(at for label, at in known.items() if label != own) for own in known}
        stay = {row: other.get(label, first) for row, label in told.items()}
    for row, of in stay.items():
        if row != of:
            yield Repeated(row, of, None not in (told[row], told[of]) and told[row] != told[of])


def _joined(good: pl.DataFrame, columns: list[str], name: str) -> pl.Series:
    """Columns as one text; null if one of them is."""
    texts = (pl.col(column).cast(pl.String) for column in columns)
    return good.select(pl.concat_str(texts, separator=", ").alias(name)).to_series()
