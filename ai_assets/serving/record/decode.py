"""From entries of the log back to rows: what was asked, what the model saw, what it answered."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import numpy as np

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.images import WHITE
from ai_assets.lifecycle.features.items import described_values
from ai_assets.lifecycle.features.tokens import normal_text
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving.columns import ColumnCheck
from ai_assets.serving.record.answers import Answered, Described
from ai_assets.serving.record.feedback import entity, micros
from ai_assets.serving.record.store import Span

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """One answer.

    Attributes:
        prediction_id: its id.
        entry: the request that it belongs to.
        given: the row as it was asked; empty for a ready vector.
        key: its key columns and its time, of the declared types; empty for a ready vector.
        event_us: its event time, microseconds since 1970.
        features: what the model saw, by name; of an image or a text numbers about it, as drift
            knows them.
        items: the images and texts themselves, by name.
        probability: the score; of several classes that of the answer.
        label: the answer in the product's words.
        probabilities: of several classes that of each, in their order; else None.
    """

    prediction_id: str
    entry: Answered
    given: Mapping[str, Any]
    key: Mapping[str, Any]
    event_us: int | None
    features: Mapping[str, Any]
    probability: float
    label: str | float
    probabilities: list[float] | None = None
    items: Mapping[str, Any] = field(default_factory=dict)


def rows_of(
    entries: Iterable[Answered], described: Mapping[str, Described], span: Span = (None, None)
) -> Iterator[Row]:
    """The rows of entries whose event time lies in [from, to); all rows for `(None, None)`."""
    for entry in entries:
        bundle = described[entry.bundle]
        for row in _rows(entry, bundle.table, bundle.encoding):
            if span == (None, None) or (row.event_us is not None and _within(row.event_us, span)):
                yield row


def keys_of_rows(entry: Answered, table: Table) -> list[str]:
    """The key of each row of an entry, as outcomes have it; `{}` for ready vectors."""
    checks = {name: ColumnCheck(name, table.columns[name], required=True) for name in table.key}
    return [
        entity({name: check(given[name]) for name, check in checks.items()} if given else {}, table)
        for given in entry.given_rows(table.columns)
    ]


def features_by_name(seen: np.ndarray, encoding: Encoding) -> dict[str, Any]:
    """What the model saw of a row, float32 [F], as numbers and texts; None is missing or unseen."""
    found: dict[str, Any] = {}
    for column, place in zip(encoding.columns, encoding.places, strict=True):
        if column.shape:
            continue  # no name for each pixel or token: `_items` has the whole
        value = float(seen[place.start])
        if column.kind == "categorical":
            found[column.name] = column.categories[int(value)] if value >= 0 else None
        else:
            found[column.name] = value if value == value else None
    return found


def features_text(row: Row) -> str:
    """The features as JSON."""
    return json.dumps(row.features, ensure_ascii=False)


def moment(us: int) -> datetime:
    """The moment of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def _within(us: int, span: Span) -> bool:
    return (span[0] is None or us >= span[0]) and (span[1] is None or us < span[1])


def _items(
    matrix: np.ndarray, given: Sequence[Mapping[str, Any]], encoding: Encoding
) -> dict[str, list[Any]]:
    """The images that the model saw, and the texts that were asked; None is missing.

    Of ready vectors texts are not known: tokens do not say how words were written.
    """
    found: dict[str, list[Any]] = {}
    for column, place in zip(encoding.columns, encoding.places, strict=True):
        told = [row.get(column.name) for row in given]
        if column.kind == "text":
            texts = (normal_text(text) if isinstance(text, str) else "" for text in told)
            found[column.name] = [text or None for text in texts]
        elif column.kind == "image":
            # A ready vector may hold any numbers.
            seen = np.nan_to_num(np.round(matrix[:, place] * WHITE)).clip(0, WHITE).astype(np.uint8)
            # A missing picture is seen as black, but it is none.
            missing = (bool(row) and value is None for row, value in zip(given, told, strict=True))
            found[column.name] = [
                None if none else pixels.tobytes()
                for none, pixels in zip(missing, seen, strict=True)
            ]
    return found


def _described(items: Mapping[str, list[Any]], encoding: Encoding, rows: int) -> Iterator[Any]:
    """By row the numbers and words about its images and texts."""
    numbers: dict[str, list[Any]] = {}
    for column in encoding.items:
        each = described_values(column.kind, items[column.name], column.shape)
        for of, values in each.items():
            listed = values if isinstance(values, list) else values.tolist()
            numbers[f"{column.name}_{of}"] = [None if v != v else v for v in listed]
    for row in range(rows):
        yield {name: values[row] for name, values in numbers.items()}


def _rows(entry: Answered, table: Table, encoding: Encoding) -> Iterator[Row]:
    matrix = np.frombuffer(entry.features, dtype=np.float32).reshape(entry.rows, -1)
    names = [*table.key, *([table.time] if table.time and table.time not in table.key else [])]
    checks = {name: ColumnCheck(name, table.columns[name], required=True) for name in names}
    asked = entry.given_rows(table.columns)
    items = _items(matrix, asked, encoding)
    columns = zip(
        entry.prediction_ids(),
        asked,
        matrix,
        entry.probabilities(),
        entry.label,
        entry.by_class() or repeat(None, entry.rows),
        _described(items, encoding, entry.rows),
        range(entry.rows),
        strict=True,
    )
    for prediction_id, given, seen, probability, label, each, described, at in columns:
        key = {name: check(given[name]) for name, check in checks.items()} if given else {}
        event = micros(key[table.time]) if key and table.time else None
        features = features_by_name(seen, encoding) | described
        own = {name: values[at] for name, values in items.items()}
        yield Row(prediction_id, entry, given, key, event, features, probability, label, each, own)
