"""What is kept of a request that was answered, of an outcome, and of a bundle that answers."""

import json
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving.record.asked import Role, Split
from ai_assets.serving.record.ids import prediction_ids

ROWS = "rows"
_DOUBLE = 8


@dataclass(frozen=True)
class Answered:
    """One request and the answers to its n rows; of the rows, columns lie side by side.

    Attributes:
        request_id: `ids.new_request_id`; the ids of the predictions follow from it.
        at_us: when it was answered, microseconds since 1970.
        route: which route was asked, such as `predict`.
        key_id: who asked: the id of the API key; None where no access control is.
        bundle: tag of the bundle that answered.
        model: partition of its model; None without partitions.
        role: what the bundle was to the release.
        online: version of each time-varying table that was read.
        threshold: score from which on the answer is positive; 0 of a regression, which has none.
        latency_ms: from the request's first byte to the answer, without the time to record it.
        event_from: event time of the earliest row, microseconds since 1970; None without times.
        event_to: event time of the latest row.
        given: JSON of the rows as they were asked: a row, a list, or `{"rows": [...]}`; empty
            where ready vectors were.
        features: what the model saw, float32 [n, F], in the order of the bundle's encoding.
        probability: float64 [n]; of several classes that of each, [n, K] row by row.
        label: the answers in the product's words, n.
        split: how rows were shared out between bundles; None where one answered everything.
    """

    request_id: int
    at_us: int
    route: str
    key_id: str | None
    bundle: str
    model: str | None
    role: Role
    online: Mapping[str, str]
    threshold: float
    latency_ms: float
    event_from: int | None
    event_to: int | None
    given: bytes
    features: bytes
    probability: bytes
    label: Sequence[str | float]
    split: Split | None = None

    @property
    def rows(self) -> int:
        """How many rows were asked."""
        return len(self.label)

    def prediction_ids(self) -> list[str]:
        """The ids of the rows' predictions."""
        return list(prediction_ids(self.request_id, self.rows))

    def given_rows(self, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows as they were asked, empty ones for ready vectors.

        Args:
            columns: those of the request table.
        """
        if not self.given:
            return [{}] * self.rows
        content = json.loads(self.given)
        if isinstance(content, dict) and ROWS in content and ROWS not in columns:
            content = content[ROWS]
        return content if isinstance(content, list) else [content]

    def probabilities(self) -> list[float]:
        """The scores, a number a row; of several classes that of the answer."""
        each = self.by_class()
        return array("d", self.probability).tolist() if each is None else [max(e) for e in each]

    def by_class(self) -> list[list[float]] | None:
        """Of several classes the probability of each, in their order, row by row; else None."""
        width = len(self.probability) // _DOUBLE // max(self.rows, 1)
        if width <= 1:
            return None
        flat = array("d", self.probability).tolist()
        return [flat[at : at + width] for at in range(0, len(flat), width)]


@dataclass(frozen=True)
class Aged:
    """What is told of a request to say whether it may be forgotten; attributes as of `Answered`.

    Attributes:
        rows: how many rows it has.
    """

    request_id: int
    at_us: int
    event_from: int | None
    rows: int

    def prediction_ids(self) -> list[str]:
        """The ids of its rows."""
        return list(prediction_ids(self.request_id, self.rows))


@dataclass(frozen=True)
class Told:
    """One outcome that a caller sent back. The last of a prediction, or of a key, counts.

    Attributes:
        at_us: when it was sent, microseconds since 1970.
        known_us: when it became known; `at_us` where the caller did not say.
        key_id: who sent it.
        prediction_id: the prediction that it is about; None where only the key was given.
        entity: JSON of the row's key columns, in the order of the declaration; `{}` for ready
            vectors.
        event_us: event time of the row; None without times.
        outcome: a word of the product's labels, or a number of a regression.
    """

    at_us: int
    known_us: int
    key_id: str | None
    prediction_id: str | None
    entity: str
    event_us: int | None
    outcome: str | float


@dataclass(frozen=True)
class Described:
    """What is needed to read the answers of a bundle, should the bundle be gone."""

    tag: str
    content: str

    @classmethod
    def of(
        cls, tag: str, table: Table, encoding: Encoding, classes: Sequence[str] = ()
    ) -> "Described":
        """The request table's declaration, the encoding and the classes, if several, as JSON."""
        content = {
            "table": table.model_dump(mode="json", exclude_none=True),
            "encoding": json.loads(encoding.to_json()),
        }
        if classes:
            content["classes"] = list(classes)
        return cls(tag, json.dumps(content, ensure_ascii=False))

    @cached_property
    def table(self) -> Table:
        """The request table, without what becomes known late."""
        return Table(**json.loads(self.content)["table"])

    @cached_property
    def encoding(self) -> Encoding:
        """How features became numbers."""
        return Encoding.from_json(json.dumps(json.loads(self.content)["encoding"]))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """What the probabilities of a row are of, in their order; none unless several classes."""
        return tuple(json.loads(self.content).get("classes", ()))


@dataclass(frozen=True)
class Counted:
    """How many requests a bundle answered over a few seconds, in one process.

    Attributes:
        from_us: when the first of them was answered, microseconds since 1970.
        to_us: when the counting ended.
        bundle: tag of the bundle that answered, or failed to.
        role: what the bundle was to the release.
        route: which route was asked; empty where several are added up.
        answered: requests that got their answer.
        refused: requests that were told what is wrong with them.
        failed: requests that should have got an answer and did not.
        latency: how many answers took how long, by bucket (`counts.bound`).
    """

    from_us: int
    to_us: int
    bundle: str
    role: Role
    route: str
    answered: int
    refused: int
    failed: int
    latency: Mapping[int, int]

    def of_all(self) -> "Counted":
        """The same without its route."""
        return replace(self, route="")

    def __add__(self, other: "Counted") -> "Counted":
        """Both together, over the time from the start of the one to the end of the other."""
        return replace(
            self.of_all(),
            from_us=min(self.from_us, other.from_us),
            to_us=max(self.to_us, other.to_us),
            answered=self.answered + other.answered,
            refused=self.refused + other.refused,
            failed=self.failed + other.failed,
            latency=dict(Counter(self.latency) + Counter(other.latency)),
        )


Entry = Answered | Told | Described | Counted


class LogError(DataError):
    """The log cannot be written or read now; what waits is not recorded."""
