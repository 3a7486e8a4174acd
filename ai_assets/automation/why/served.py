"""Why a caller of a server got its answer: what the log kept, and what the bundle makes of it."""

import os
from collections.abc import Mapping
from typing import Any

from ai_assets.automation.why.origins import Found
from ai_assets.automation.why.prediction import HIDDEN, explained, of_value
from ai_assets.automation.why.records import Records, plain
from ai_assets.lifecycle.errors import BundleError, DataError
from ai_assets.lifecycle.features.lineage import column_lineage
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.decode import Row, moment, rows_of
from ai_assets.serving.record.ids import split_id
from ai_assets.serving.record.store import Store, log_place, read_store
from ai_assets.stages.features import schemas


def why_served(records: Records, prediction_id: str) -> dict[str, Any]:
    """Why a server gave an answer, by the id that the caller got with it.

    Args:
        records: of the product.
        prediction_id: a UUID.

    Raises:
        DataError: there is no log, or no such prediction in it.
    """
    store = read_store(log_place(records.name, os.environ.get("AI_ASSETS_LOG", "")))
    if store is None:
        raise DataError(f"No server has recorded an answer of {records.name} yet.")
    try:
        row = _row(store, prediction_id.lower())
        table = store.descriptions()[row.entry.bundle].table
        outcomes = _outcomes(store, row)
    finally:
        store.close()
    entry = row.entry
    bundle, problem = _bundle(records, entry.bundle)
    return {
        "asked": "served",
        "product": records.name,
        "prediction_id": row.prediction_id,
        "request": {
            "at": moment(entry.at_us).isoformat(),
            "who": entry.key_id,
            "route": entry.route,
            "rows": entry.rows,
            "latency_ms": entry.latency_ms,
            "row": _shown(row.given, table),
            "online": dict(entry.online),
        },
        "answer": {
            "label": row.label,
            "probability": row.probability,
            "probabilities": _by_class(records, row),
            "threshold": entry.threshold,
            **of_value(records, bundle, row.probability),
            "bundle": entry.bundle,
            "model": entry.model,
            "role": entry.role,
        },
        "release": release_then(records, entry),
        "features": dict(row.features),
        "outcomes": [_told(one) for one in outcomes],
        **(_nothing(problem) if bundle is None else _explained(records, row, bundle)),
    }


def release_then(records: Records, entry: Answered) -> dict[str, Any] | None:
    """What the ledger said of the bundle when it answered."""
    at = moment(entry.at_us)
    for one in reversed(records.ledger.history(records.name).sort("recorded_at").to_dicts()):
        if one["recorded_at"] <= at and entry.bundle in (one["stable"], one["candidate"]):
            return {k: v for k, v in plain(one).items() if k not in ("gate", "product")}
    return None


def _row(store: Store, prediction_id: str) -> Row:
    """The answer of that id.

    Raises:
        DataError: there is none.
    """
    place = split_id(prediction_id)
    entry = store.find([place[0]]).get(place[0]) if place is not None else None
    if place is None or entry is None or place[1] >= entry.rows:
        raise DataError(f"There is no served prediction {prediction_id!r} in the log.")
    return list(rows_of([entry], store.descriptions()))[place[1]]


def _by_class(records: Records, row: Row) -> dict[str, float] | None:
    """Of several classes the probability of each by its name, as the product declares them now."""
    classes = records.product.declaration.answers
    if row.probabilities is None:
        return None
    if len(classes) != len(row.probabilities):
        classes = tuple(map(str, range(len(row.probabilities))))
    return dict(zip(classes, row.probabilities, strict=True))


def _outcomes(store: Store, row: Row) -> list[Told]:
    """What callers told of it by its id, in the order they were sent."""
    event = row.event_us
    span = (None, None) if event is None else (event, event + 1)
    return [one for one in store.outcomes(span) if one.prediction_id == row.prediction_id]


def _told(one: Told) -> dict[str, Any]:
    known, told = moment(one.known_us).isoformat(), moment(one.at_us).isoformat()
    return {"outcome": one.outcome, "known_at": known, "told_at": told, "who": one.key_id}


def _shown(given: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """The row as it was asked, without personal data."""
    personal = {name for name, column in table.columns.items() if column.personal}
    return {name: HIDDEN if name in personal else value for name, value in given.items()}


def _bundle(records: Records, tag: str) -> tuple[Bundle | None, str]:
    """The bundle; of one that is gone or spoilt, what is wrong with it."""
    try:
        return records.bundles.load(tag), ""
    except BundleError as error:
        return None, str(error)


def _nothing(problem: str) -> dict[str, Any]:
    return {"scored_again": None, "explanation": None, "problem": problem}


def _explained(records: Records, row: Row, bundle: Bundle) -> dict[str, Any]:
    """What each feature contributed."""
    lineage = column_lineage(bundle.features_sql, schemas(records.product))
    values = {**row.features, **row.items}
    return explained(records, bundle, values, lineage, Found(values, {}))
