"""Entries of a log, made without a server."""

from array import array
from typing import Any

from ai_assets.serving.record.answers import Answered, Counted, Told
from ai_assets.serving.record.ids import new_request_id

AT = 1_763_720_000_000_000


def answered(event: int | None = 5, rows: int = 1, **changes: Any) -> Answered:
    """One request with `rows` rows, of one event time."""
    told: dict[str, Any] = {
        "request_id": new_request_id(AT),
        "at_us": AT,
        "route": "predict",
        "key_id": "k1",
        "bundle": "trips:1",
        "model": "2013-04-01",
        "role": "stable",
        "online": {"weather": "3"},
        "threshold": 0.5,
        "latency_ms": 1.5,
        "event_from": event,
        "event_to": event,
        "given": b'{"place": "EWR"}',
        "features": array("f", [1.0, 2.0] * rows).tobytes(),
        "probability": array("d", [0.25] * rows).tobytes(),
        "label": ["late"] * rows,
    }
    return Answered(**told | changes)


def told(event: int | None = 5, outcome: str | float = "late", **changes: Any) -> Told:
    """One outcome."""
    given: dict[str, Any] = {
        "at_us": AT,
        "known_us": AT,
        "key_id": None,
        "prediction_id": None,
        "entity": '{"carrier": "UA"}',
        "event_us": event,
        "outcome": outcome,
    }
    return Told(**given | changes)


def counts(**changes: Any) -> Counted:
    """Ten seconds of a bundle."""
    given: dict[str, Any] = {
        "from_us": AT,
        "to_us": AT + 10_000_000,
        "bundle": "trips:1",
        "role": "stable",
        "route": "predict",
        "answered": 3,
        "refused": 0,
        "failed": 1,
        "latency": {4: 2, 8: 1},
    }
    return Counted(**given | changes)
