"""The log's tables and rows, the same in every database that speaks SQL."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ai_assets.serving.record.answers import Aged, Answered, Counted, Described, Entry, Told
from ai_assets.serving.record.asked import Split
from ai_assets.serving.record.ids import first_id
from ai_assets.serving.record.store import Span

FORMAT = 3
_ID = 16
# What a column holds: i integer, r real, b bytes, t text; a small letter may be missing.
_ANSWERS = {
    "request_id": "B", "at_us": "I", "route": "T", "key_id": "t", "bundle": "T", "model": "t",
    "role": "T", "online": "T", "threshold": "R", "latency_ms": "R", "event_from": "i",
    "event_to": "i", "given": "B", "features": "B", "probability": "B", "label": "T",
    "split": "t",
}  # fmt: skip
_OUTCOMES = {
    "at_us": "I", "known_us": "I", "key_id": "t", "prediction_id": "t", "entity": "T",
    "event_us": "i", "outcome": "T",
}  # fmt: skip
_BUNDLES = {"tag": "T", "content": "T"}
_COUNTS = {
    "from_us": "I", "to_us": "I", "bundle": "T", "role": "T", "route": "T", "answered": "I",
    "refused": "I", "failed": "I", "latency": "T",
}  # fmt: skip
_TABLES = {"answers": _ANSWERS, "outcomes": _OUTCOMES, "bundles": _BUNDLES, "counts": _COUNTS}
# The format that first had a table; the others were in the first.
_BEGAN = {"counts": 2}
# Columns that a table of an earlier format lacks, and the format that first had them.
_ADDED = {("answers", "split"): 3}
_KEYS = {"answers": "request_id", "bundles": "tag"}
_INDEXES = {
    "answers_by_event": ("answers", "event_from, event_to"),
    "outcomes_by_event": ("outcomes", "event_us"),
    "counts_by_time": ("counts", "from_us"),
}


@dataclass(frozen=True)
class Dialect:
    """How a database writes what SQL leaves open.

    Attributes:
        integer, real, binary: names of the types: 64 bits each, and bytes.
        mark: stands for a value.
        inside: what comes before a table's name, such as `schema.`.
        rows: how many rows a request has, whose answers are JSON in `label`.
        order: the column that numbers rows as they come.
        declared: how `order` is declared; empty where every table has it by itself.
    """

    integer: str
    real: str
    binary: str
    mark: str
    inside: str = ""
    rows: str = "json_array_length(label)"
    order: str = "rowid"
    declared: str = ""

    @cached_property
    def tables(self) -> list[str]:
        """The statements that make the tables."""
        return self.tables_since(0)

    def tables_since(self, found: int) -> list[str]:
        """The statements that bring a log of an earlier format, 0 for a new one, to this one."""
        new = {name for name in _TABLES if _BEGAN.get(name, 1) > found}
        ordered = {"outcomes": self.declared}
        made = [
            self._table(name, columns, ordered.get(name, ""))
            for name, columns in _TABLES.items()
            if name in new
        ]
        added = [
            f"ALTER TABLE {self.inside}{table} ADD COLUMN {column} TEXT"
            for (table, column), since in _ADDED.items()
            if found < since and table not in new
        ]
        return (
            made
            + added
            + [
                f"CREATE INDEX {name} ON {self.inside}{table} ({columns})"
                for name, (table, columns) in _INDEXES.items()
                if table in new
            ]
        )

    @cached_property
    def put_answer(self) -> str:
        """Insert one answer, as `answer_row` gives it."""
        return self._insert("answers", _ANSWERS)

    @cached_property
    def put_outcome(self) -> str:
        """Insert one outcome, as `outcome_row` gives it."""
        return self._insert("outcomes", _OUTCOMES)

    @cached_property
    def put_counts(self) -> str:
        """Insert counts, as `counts_row` gives them."""
        return self._insert("counts", _COUNTS)

    @cached_property
    def put_bundle(self) -> str:
        """Insert a bundle's tag and description, unless it is there."""
        return self._insert("bundles", _BUNDLES) + " ON CONFLICT DO NOTHING"

    def puts(self, entries: Sequence[Entry]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """The statements that keep entries, each with its rows."""
        bundles = [(e.tag, e.content) for e in entries if isinstance(e, Described)]
        answers = [answer_row(e) for e in entries if isinstance(e, Answered)]
        outcomes = [outcome_row(e) for e in entries if isinstance(e, Told)]
        counts = [counts_row(e) for e in entries if isinstance(e, Counted)]
        for sql, rows in (
            (self.put_bundle, bundles),
            (self.put_answer, answers),
            (self.put_outcome, outcomes),
            (self.put_counts, counts),
        ):
            if rows:
                yield sql, rows

    @cached_property
    def bundles(self) -> str:
        """Read all descriptions."""
        return self._select("bundles", _BUNDLES, "TRUE", "tag")

    def found(self, count: int) -> str:
        """Read the answers with one of so many ids."""
        return self._select("answers", _ANSWERS, f"request_id IN ({self._marks(count)})")

    def answers(self, span: Span) -> tuple[str, list[int]]:
        """Read requests with a row whose event time may lie in the span; text and values."""
        where, values = self._within(span, "event_to", "event_from")
        return self._select("answers", _ANSWERS, where, "request_id"), values

    def outcomes(self, span: Span) -> tuple[str, list[int]]:
        """Read outcomes of rows whose event time lies in the span; text and values."""
        where, values = self._within(span, "event_us", "event_us")
        return self._select("outcomes", _OUTCOMES, where, self.order), values

    def counts(self, span: Span) -> tuple[str, list[int]]:
        """Read counts of times that lie in the span; the text and its values."""
        start, end = span
        parts = [f"from_us >= {self.mark}"] * (start is not None)
        parts += [f"to_us < {self.mark}"] * (end is not None)
        where = " AND ".join(parts) or "TRUE"
        return self._select("counts", _COUNTS, where), [m for m in span if m is not None]

    def newest_answers(
        self, since_us: int, bundle: str, role: str, most: int
    ) -> tuple[str, list[Any]]:
        """Read the newest answers of a bundle from a moment of the clock on; text and values."""
        where = f"request_id >= {self.mark} AND bundle = {self.mark} AND role = {self.mark}"
        text = self._select("answers", _ANSWERS, where, f"request_id DESC LIMIT {most:d}")
        return text, [id_bytes(first_id(since_us)), bundle, role]

    def newest_outcomes(self, most: int) -> str:
        """Read the outcomes that were sent last."""
        return self._select("outcomes", _OUTCOMES, "TRUE", f"{self.order} DESC LIMIT {most:d}")

    def aged(self, before_us: int) -> tuple[str, list[Any]]:
        """Read what `aged_of` takes of the requests before a moment of the clock; text, values."""
        columns = ["request_id", "at_us", "event_from", self.rows]
        text = self._select("answers", columns, f"request_id < {self.mark}", "request_id")
        return text, [id_bytes(first_id(before_us))]

    def aged_outcomes(self, before_us: int) -> tuple[str, list[Any]]:
        """Read the outcomes that were sent before a moment, each after its number; text, values."""
        columns = [self.order, *_OUTCOMES]
        return self._select("outcomes", columns, f"at_us < {self.mark}", self.order), [before_us]

    def forget_answers(self, count: int) -> str:
        """Delete the answers with one of so many ids."""
        return self._delete("answers", f"request_id IN ({self._marks(count)})")

    def forget_outcomes(self, count: int) -> str:
        """Delete the outcomes with one of so many numbers."""
        return self._delete("outcomes", f"{self.order} IN ({self._marks(count)})")

    @cached_property
    def forget_counts(self) -> str:
        """Delete the counts of times that ended before a moment of the clock."""
        return self._delete("counts", f"to_us < {self.mark}")

    def _delete(self, table: str, where: str) -> str:
        return f"DELETE FROM {self.inside}{table} WHERE {where}"

    def _table(self, table: str, columns: dict[str, str], further: str = "") -> str:
        types = {"i": self.integer, "r": self.real, "b": self.binary, "t": "TEXT"}
        parts = [
            f"{name} {types[kind.lower()]}{' NOT NULL' if kind.isupper() else ''}"
            for name, kind in columns.items()
        ]
        if further:
            parts.append(further)
        if key := _KEYS.get(table):
            parts.append(f"PRIMARY KEY ({key})")
        return f"CREATE TABLE {self.inside}{table} ({', '.join(parts)})"

    def _insert(self, table: str, columns: Collection[str]) -> str:
        values = self._marks(len(columns))
        return f"INSERT INTO {self.inside}{table} ({', '.join(columns)}) VALUES ({values})"

    def _select(self, table: str, columns: Collection[str], where: str, order: str = "") -> str:
        text = f"SELECT {', '.join(columns)} FROM {self.inside}{table} WHERE {where}"
        return f"{text} ORDER BY {order}" if order else text

    def _marks(self, count: int) -> str:
        return ", ".join([self.mark] * count)

    def _within(self, span: Span, last: str, first: str) -> tuple[str, list[int]]:
        """The condition that [first, last] reaches into the span, and its values."""
        start, end = span
        parts = [f"{last} >= {self.mark}"] * (start is not None)
        parts += [f"{first} < {self.mark}"] * (end is not None)
        return " AND ".join(parts) or "TRUE", [moment for moment in span if moment is not None]


def id_bytes(request_id: int) -> bytes:
    """How an id is stored: its order is that of the number."""
    return request_id.to_bytes(_ID)


def answer_row(entry: Answered) -> tuple[Any, ...]:
    """The values of an entry, in the order of the columns."""
    return (
        id_bytes(entry.request_id), entry.at_us, entry.route, entry.key_id, entry.bundle,
        entry.model, entry.role, json.dumps(dict(entry.online)), entry.threshold,
        entry.latency_ms, entry.event_from, entry.event_to, entry.given, entry.features,
        entry.probability, json.dumps(list(entry.label), ensure_ascii=False),
        None if entry.split is None else json.dumps(asdict(entry.split)),
    )  # fmt: skip


def answer_of(row: tuple[Any, ...]) -> Answered:
    """The entry of a row."""
    values = list(row)
    values[0], values[7], values[-2] = (
        int.from_bytes(values[0]),
        json.loads(values[7]),
        json.loads(values[-2]),
    )
    values[-1] = None if row[-1] is None else Split(**json.loads(row[-1]))
    return Answered(*values)


def aged_of(row: tuple[Any, ...]) -> Aged:
    """What `Dialect.aged` reads."""
    return Aged(int.from_bytes(row[0]), *row[1:])


def outcome_row(entry: Told) -> tuple[Any, ...]:
    """The values of an outcome, in the order of the columns."""
    return (
        entry.at_us, entry.known_us, entry.key_id, entry.prediction_id, entry.entity,
        entry.event_us, json.dumps(entry.outcome, ensure_ascii=False),
    )  # fmt: skip


def outcome_of(row: tuple[Any, ...]) -> Told:
    """The outcome of a row."""
    values = list(row)
    values[-1] = json.loads(row[-1])
    return Told(*values)


def counts_row(entry: Counted) -> tuple[Any, ...]:
    """The values of counts, in the order of the columns."""
    return (
        entry.from_us, entry.to_us, entry.bundle, entry.role, entry.route, entry.answered,
        entry.refused, entry.failed, json.dumps(dict(entry.latency)),
    )  # fmt: skip


def counts_of(row: tuple[Any, ...]) -> Counted:
    """The counts of a row."""
    values = list(row)
    values[-1] = {int(bucket): count for bucket, count in json.loads(row[-1]).items()}
    return Counted(*values)
