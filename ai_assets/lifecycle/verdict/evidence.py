"""What monitoring concludes about a partition, as data that machines and people read."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from ai_assets.lifecycle.errors import DataError, must_be

FORMAT = 1
Cause = Literal["none", "broken_data", "changed_code", "covariate_drift", "concept_drift"]
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class Evidence:
    """One finding beyond its limit.

    Attributes:
        cause: The cause that it speaks for.
        kind: The detector, such as `nulls` or `unit`.
        subject: What it is about: `table.column`, a feature, or a table.
        value: What was measured.
        limit: What it was held against.
        words: A sentence for a person.
        severity: 0.5 at the limit, towards 1 far beyond it.
    """

    cause: Cause
    kind: str
    subject: str
    value: float
    limit: float
    words: str
    severity: float


@dataclass(frozen=True)
class Verdict:
    """Why a partition is, or is not, as what the bundle learned from.

    Attributes:
        severity: 0 to 1. Of a cause other than covariate drift: the severest evidence for it (0.5
            at the limit, towards 1 beyond). Of covariate drift: the severity of each drifted
            feature weighted by its importance to the model, or that of the score if greater. So
            drift of what the model hardly uses is near 0. Without a cause: 0.
        words: One sentence that names the columns.
        labelled: Whether labels were there to tell a changed concept.
    """

    product: str
    partition: str | None
    bundle: str
    cause: Cause
    severity: float
    words: str
    evidence: list[Evidence]
    labelled: bool

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(
            {"format": FORMAT} | asdict(self), ensure_ascii=False, indent=1, allow_nan=False
        )

    @staticmethod
    def from_json(text: str) -> "Verdict":
        """The verdict that `to_json` wrote.

        Raises:
            DataError: it was written by another version of this code, or names no known cause.
        """
        told: dict[str, Any] = json.loads(text)
        if told.pop("format", None) != FORMAT:
            raise DataError(f"a verdict must have format {FORMAT}.")
        if told["cause"] not in CAUSES:
            raise DataError(must_be("the verdict's cause", CAUSES, told["cause"]))
        evidence = [Evidence(**item) for item in told.pop("evidence")]
        return Verdict(evidence=evidence, **told)


def beyond(value: float, limit: float) -> float:
    """How severe it is that `value` reached `limit`, both positive: 0.5 there, towards 1."""
    return float(value / (value + limit)) if value + limit > 0 else 1.0


def below(value: float, limit: float) -> float:
    """The same where small is bad: 0.5 at the limit, 1 at nothing."""
    return float(1 - 0.5 * max(0.0, value) / limit)


def about(table: str, evidence: Evidence) -> Evidence:
    """The evidence with its subject, a column or nothing, named as one of the table."""
    subject = f"{table}.{evidence.subject}" if evidence.subject else table
    starts = evidence.subject and evidence.words.startswith(f"{evidence.subject} ")
    return replace(
        evidence, subject=subject, words=f"{table}{'.' if starts else ': '}{evidence.words}"
    )
