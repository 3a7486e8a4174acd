"""Outcomes that callers send back: by a prediction's id, or by the key of its row."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from pydantic_core import PydanticCustomError, from_json

from ai_assets.lifecycle.errors import did_you_mean, must_be
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.serving.columns import ColumnCheck
from ai_assets.serving.problems import MOST_DETAILS, Detail, Refused, as_json, refusal
from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.ids import ID_PATTERN, split_id
from ai_assets.serving.record.store import Store

ID, OUTCOME, KNOWN_AT = "prediction_id", "outcome", "known_at"
_MOMENT = ColumnCheck(KNOWN_AT, Column(type="datetime"), required=False)
_SKEW = timedelta(minutes=5)
"""How far a caller's clock may be ahead of the server's."""
_KNOWN_WORDS = "When it became known; not in the future. Default: now."


@dataclass(frozen=True)
class Given:
    """One checked outcome: of a prediction, or of a row with this key."""

    prediction_id: str | None
    key: Mapping[str, Any]
    outcome: str | float
    known_at: datetime | None


class _Wrong(Exception):
    def __init__(
        self,
        field: str | None,
        given: Any,
        allowed: Any,
        message: str,
        hint: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(message)
        self.parts = (field, given, allowed, message, hint)


class FeedbackReader:
    """Reads bodies: one outcome or a list of them.

    Args:
        table: the request table, without what becomes known late.
        decision: tells the words that an outcome may be.
        max_rows: most outcomes of a body.
    """

    def __init__(self, table: Table, decision: Decision, *, max_rows: int) -> None:
        self.table = table
        self._decision = decision
        self._max_rows = max_rows
        # Without its time nobody knows which partition an outcome belongs to; rows without a key
        # are known by their predictions alone.
        time = [table.time] if table.time and table.time not in table.key else []
        self.key = [*table.key, *time] if table.key else []
        self.checks = {n: ColumnCheck(n, table.columns[n], required=True) for n in self.key}

    def read(self, body: bytes, now: datetime | None = None) -> list[Given]:
        """The checked outcomes of a body.

        Args:
            body: JSON.
            now: until when something can have become known. Default: the server's clock.

        Raises:
            Refused: with 400 and what is wrong with which of them, with 409 where one is of the
                future, or 413.
        """
        items = self._items(body)
        found, details = [], []
        for number, item in enumerate(items):
            try:
                found.append(self._one(item))
            except _Wrong as wrong:
                details.append(Detail(number, *wrong.parts))
            if len(details) >= MOST_DETAILS:
                break
        if details:
            raise refusal(details)
        _check_known(found, items, now or datetime.now(UTC))
        return found

    def json_schema(self) -> dict[str, Any]:
        """What OpenAPI says of an outcome."""
        decision = self._decision
        outcome: dict[str, Any] = {"enum": [*decision.classes, True, False]}
        if decision.task != "binary":
            outcome = {"enum": list(decision.classes)} if decision.classes else {"type": "number"}
        known = {**_MOMENT.json_schema(), "description": _KNOWN_WORDS}
        shared = {OUTCOME: outcome, KNOWN_AT: known}
        by_id = {ID: {"type": "string", "format": "uuid", "pattern": ID_PATTERN}, **shared}
        by_key = {**{n: c.json_schema() for n, c in self.checks.items()}, **shared}
        if not self.key:
            return {"oneOf": [_object(by_id, [ID])]}
        return {"oneOf": [_object(by_id, [ID]), _object(by_key, self.key)]}

    def _items(self, body: bytes) -> list[Any]:
        try:
            content = from_json(body)
        except ValueError as error:
            raise Refused(400, f"The body must be JSON, but {error}.") from error
        items = content if isinstance(content, list) else [content]
        if not items:
            raise Refused(400, "There must be at least one outcome, but the list is empty.")
        if len(items) > self._max_rows:
            words = f"There must be at most {self._max_rows} outcomes, but there are {len(items)}."
            raise Refused(413, words)
        return items

    def _one(self, item: Any) -> Given:
        if not isinstance(item, dict):
            words = "An outcome must be an object, such as " + json.dumps(self.example())
            raise _Wrong(None, item, "an object", f"{words}.")
        by_id = ID in item or not self.key
        allowed = [*([ID] if by_id else self.key), OUTCOME, KNOWN_AT]
        for name in item:
            if name not in allowed:
                beside = " beside prediction_id" if by_id and name in self.key else ""
                words = f"'{name}' is not a field of an outcome{beside}."
                raise _Wrong(name, None, allowed, words, partial(did_you_mean, name, allowed))
        key = {} if by_id else {name: self._checked(item, name) for name in self.key}
        if by_id and ID not in item:
            raise _Wrong(ID, None, [ID], f"'{ID}' is missing: an outcome needs it.")
        if by_id and (not isinstance(item[ID], str) or split_id(item[ID]) is None):
            words = _must_be(ID, "an id that /predict has given", item[ID])
            raise _Wrong(ID, item[ID], "a UUID", words)
        prediction_id = item[ID].lower() if by_id else None
        known_at = _check(_MOMENT, item.get(KNOWN_AT))
        return Given(prediction_id, key, self._outcome(item), known_at)

    def _checked(self, item: Mapping[str, Any], name: str) -> Any:
        if name not in item:
            either = f"prediction_id, or {' and '.join(self.key)}"
            raise _Wrong(name, None, self.key, f"'{name}' is missing: an outcome needs {either}.")
        return _check(self.checks[name], item[name])

    def _outcome(self, item: Mapping[str, Any]) -> str | float:
        classes, given = self._decision.classes, item.get(OUTCOME)
        if OUTCOME not in item:
            raise _Wrong(OUTCOME, None, list(classes), "'outcome' is missing.")
        if self._decision.task == "regression":
            number = _as_float(given)
            if math.isfinite(number) and not isinstance(given, bool):
                return number
            raise _Wrong(OUTCOME, given, "a number", _must_be(OUTCOME, "a finite number", given))
        if self._decision.task == "binary" and isinstance(given, bool):
            return classes[given]
        if isinstance(given, str) and given in classes:
            return given
        raise _Wrong(OUTCOME, given, list(classes), _must_be(OUTCOME, classes, given))

    def example(self) -> dict[str, Any]:
        """An outcome by id."""
        classes = self._decision.classes
        return {ID: "0197c5f0-…", OUTCOME: classes[-1] if classes else 1.5}


def told(given: Sequence[Given], table: Table, store: Store, key_id: str | None) -> list[Told]:
    """The outcomes as they are kept, each with its row's key and event time.

    Args:
        given: checked outcomes.
        table: the request table, for outcomes by key.
        store: knows the predictions, and the table of the bundle that answered each.
        key_id: who sends them.

    Raises:
        Refused: with 404: there is no such prediction.
    """
    places = _places(given)
    entries = store.find({request_id for request_id, _ in places.values()})
    unknown = [
        text
        for text, (request_id, row) in places.items()
        if request_id not in entries or row >= entries[request_id].rows
    ]
    if unknown:
        raise _unknown([g.prediction_id for g in given], unknown)
    described = store.descriptions() if entries else {}
    now = time.time_ns() // 1000
    found = []
    for one in given:
        key, declared = one.key, table
        if one.prediction_id is not None:
            request_id, row = places[one.prediction_id]
            declared = described[entries[request_id].bundle].table
            key = _key_of(entries[request_id], row, declared)
        found.append(_told(one, key, declared, now, key_id))
    return found


def _places(given: Sequence[Given]) -> dict[str, tuple[int, int]]:
    places = {}
    for one in given:
        place = split_id(one.prediction_id) if one.prediction_id is not None else None
        if one.prediction_id is not None and place is not None:
            places[one.prediction_id] = place
    return places


def _told(one: Given, key: Mapping[str, Any], table: Table, now: int, key_id: str | None) -> Told:
    event = key.get(table.time) if table.time else None
    return Told(
        at_us=now,
        known_us=now if one.known_at is None else micros(one.known_at),
        key_id=key_id,
        prediction_id=one.prediction_id,
        entity=entity(key, table),
        event_us=None if event is None else micros(event),
        outcome=one.outcome,
    )


def entity(key: Mapping[str, Any], table: Table) -> str:
    """The one form of a row's key: JSON of its columns in the declaration's order."""
    texts = {n: v.isoformat() if isinstance(v, date) else v for n, v in key.items()}
    known = {name: texts[name] for name in table.key if name in texts}
    return json.dumps(known, ensure_ascii=False)


def _key_of(entry: Answered, row: int, table: Table) -> dict[str, Any]:
    given = entry.given_rows(table.columns)[row]
    if not entry.given:
        return {}
    names = {*table.key, *([table.time] if table.time else [])}
    return {n: ColumnCheck(n, table.columns[n], required=True)(given.get(n)) for n in names}


def _unknown(order: Sequence[str | None], unknown: Sequence[str]) -> Refused:
    details = [
        Detail(order.index(text), ID, text, None, f"There is no prediction {text}.")
        for text in unknown[:MOST_DETAILS]
    ]
    return refusal(details, 404)


def _as_float(given: Any) -> float:
    try:
        return float(given) if isinstance(given, int | float) else math.nan
    except OverflowError:  # a whole number of any length is JSON
        return math.inf


def _check(check: ColumnCheck, value: Any) -> Any:
    try:
        return check(value)
    except PydanticCustomError as error:
        context = error.context or {}
        parts = (context["given"], context["allowed"], context["message"], context["hint"])
        raise _Wrong(check.name, *parts) from error


def _check_known(found: Sequence[Given], items: Sequence[Any], now: datetime) -> None:
    """Refuse what is said to become known later: with years ahead it would never be learned from.

    With 409 and not 400: the server's clock is against it, and the page cannot say what that is.
    """
    last = (now + _SKEW).isoformat(timespec="seconds").replace("+00:00", "Z")
    allowed = f"at most {last}"
    words = f"{allowed}, {_SKEW // timedelta(minutes=1)} minutes after the server's clock"
    details = [
        Detail(number, KNOWN_AT, given, allowed, must_be(KNOWN_AT, words, given))
        for number, (one, given) in enumerate(
            (one, item.get(KNOWN_AT)) for one, item in zip(found, items, strict=True)
        )
        if one.known_at is not None and one.known_at - now > _SKEW
    ]
    if details:
        raise refusal(details, 409)


def _must_be(name: str, allowed: str | Sequence[str], given: Any) -> str:
    return must_be(name, allowed, given, written=as_json(given))


def micros(moment: date) -> int:
    """Microseconds since 1970; a date counts from its midnight in UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*required, OUTCOME],
        "additionalProperties": False,
    }
