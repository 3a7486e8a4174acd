"""Entries of the small product's log, as its server would have written them."""

import json
from array import array
from datetime import UTC, datetime
from typing import Any

from small_product import JANUARY

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.ids import new_request_id

BUNDLE = "late_orders:2024-01-01-abc"
PLACED = datetime(2024, 1, 31, 23, tzinfo=UTC)
ASKED = datetime(2024, 1, 31, 22, tzinfo=UTC)
ENCODING = Encoding(
    (EncodedColumn("shop", "categorical", ("east", "north")), EncodedColumn("load", "numeric"))
)


def order(number: int, placed: datetime = PLACED) -> dict[str, Any]:
    """A request row."""
    return {"number": number, "placed": placed.isoformat(), "shop": "north", "weight": 1.5}


def answered(rows: list[dict[str, Any]], **changes: Any) -> Answered:
    """A request for these rows."""
    times = [micros(datetime.fromisoformat(row["placed"])) for row in rows]
    told: dict[str, Any] = {
        "request_id": new_request_id(micros(ASKED)),
        "at_us": micros(ASKED),
        "route": "predict",
        "key_id": "k1",
        "bundle": BUNDLE,
        "model": JANUARY,
        "role": "stable",
        "online": {"visits": "3"},
        "threshold": 0.5,
        "latency_ms": 4.0,
        "event_from": min(times, default=None),
        "event_to": max(times, default=None),
        "given": json.dumps(rows).encode(),
        "features": array("f", [1.0, 0.5] * len(rows)).tobytes(),
        "probability": array("d", [0.75] * len(rows)).tobytes(),
        "label": ["late"] * len(rows),
    }
    return Answered(**told | changes)


def outcome(number: int, word: str, known_at: datetime, placed: datetime = PLACED) -> Told:
    """What a caller told of an order."""
    at = micros(known_at)
    return Told(at, at, None, None, json.dumps({"number": number}), micros(placed), word)
