"""What a product declares about retraining: the `retrain:` part of its YAML."""

from typing import Literal

from pydantic import Field, field_validator

from ai_assets.lifecycle.errors import must_be
from ai_assets.lifecycle.schema.section import Section
from ai_assets.lifecycle.verdict.evidence import CAUSES, Cause

RETRAINABLE: tuple[Cause, ...] = ("changed_code", "covariate_drift", "concept_drift")
ACTING = ("none", *RETRAINABLE)
DEFAULT_SEVERITY: dict[str, float] = {
    "changed_code": 0.5,
    "covariate_drift": 0.5,
    "concept_drift": 0.5,
}


class Cost(Section):
    """What waiting costs against what training costs. Without it money decides nothing."""

    per_nat: float = Field(
        gt=0,
        description="Price of one nat of log loss on one scored row, in any currency: what a worse "
        "probability costs.",
    )
    per_hour: float = Field(ge=0, description="Price of an hour of training, in that currency.")


class Retrain(Section):
    """When a verdict, or the calendar, makes the product learn anew.

    Broken data never does: what is broken is to be mended, not learned.
    """

    causes: dict[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_SEVERITY),
        description="Causes that may start a retraining, each with the severity (0 to 1) from "
        f"which it does. Allowed: {', '.join(RETRAINABLE)}.",
    )
    every: int | None = Field(
        None,
        ge=1,
        description="Retrain after so many partitions at the latest, whatever the verdicts say. "
        "Default: never by the calendar.",
    )
    cooldown: int = Field(
        1, ge=0, description="Partitions to wait after a retraining before the next one."
    )
    most: int | None = Field(
        None, ge=1, description="Most retrainings within `within` partitions. Default: no limit."
    )
    within: int = Field(12, ge=1, description="The partitions over which `most` counts.")
    retries: int = Field(
        1, ge=0, le=10, description="How often a retraining whose run failed is started again."
    )
    approval: Literal["automatic", "manual"] = Field(
        "automatic",
        description="manual: a challenger that passed its gate waits for a person's word before it "
        "is released.",
    )
    cost: Cost | None = Field(
        None,
        description="Exchange rate between loss and training time. With it a retraining must be "
        "worth its price; both sides are logged either way.",
    )

    @field_validator("causes")
    @classmethod
    def _causes_exist(cls, given: dict[str, float]) -> dict[str, float]:
        for name, severity in given.items():
            if name not in RETRAINABLE:
                allowed = [cause for cause in CAUSES if cause in RETRAINABLE]
                raise ValueError(must_be("a cause of retraining", allowed, name))
            if not 0 <= severity <= 1:
                raise ValueError(must_be(f"severity of {name}", "between 0 and 1", severity))
        return given
