"""What a bundle must meet to be released, as declared."""

from typing import Literal

from pydantic import Field, field_validator

from ai_assets.lifecycle.evaluation.names import metric_name
from ai_assets.lifecycle.schema.section import Section

Rule = Literal["better", "clearly_better", "not_clearly_worse"]


class MetricLimits(Section):
    """Limits on metrics."""

    min: dict[str, float] = Field(
        default_factory=dict, description="Smallest allowed value of a metric, by its name."
    )
    max: dict[str, float] = Field(
        default_factory=dict, description="Largest allowed value of a metric, by its name."
    )

    @field_validator("min", "max")
    @classmethod
    def _known(cls, limits: dict[str, float]) -> dict[str, float]:
        for name in limits:
            metric_name(name)
        return limits


class Champion(Section):
    """How much better than what is in production a challenger must be, on the same test rows."""

    metric: str = Field(
        default="log_loss",
        description="What they are compared by, each by its own answers. Default: log_loss, or "
        "rmse for a regression. `cost` needs training.costs, by which both are judged.",
    )
    margin: float = Field(
        default=0.0,
        description="By how much the challenger must be better. Negative: so much worse it may be. "
        "Of a metric in the unit of the target (rmse, mae) or of costs (cost): a share of the "
        "champion's value.",
    )
    rule: Rule = Field(
        default="better",
        description="What must lie beyond the margin: `better` the difference itself; "
        "`clearly_better` its whole 95 % interval; `not_clearly_worse` some of it, so that where "
        "the test rows cannot tell, the challenger takes over. That suits `refit: full`: the "
        "challenger is judged without the newest rows that it then learns from. Intervals are of "
        "days, and few days seldom tell.",
    )
    slice_margin: float = Field(
        default=0.02,
        ge=0,
        description="In no slice may the challenger be clearly worse by more than this; as a share "
        "where `margin` is one.",
    )
    slice_rows: int = Field(
        default=200, ge=30, description="Smaller slices say nothing, and are not compared."
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str) -> str:
        return metric_name(name)


class Gate(MetricLimits):
    """What a bundle must meet to be released. Without limits everything passes, and says so."""

    max_size: float | None = Field(
        default=None,
        gt=0,
        description="Largest allowed size of the served model, in MB (10^6 bytes).",
    )
    max_p99: float | None = Field(
        default=None,
        gt=0,
        description="Largest allowed 99th percentile of the time to score a row, in ms.",
    )
    slices: MetricLimits | None = Field(
        default=None, description="Limits that every slice with enough rows must meet."
    )
    champion: Champion | None = Field(
        default_factory=Champion,
        description="Comparison with what is in production; null leaves it out.",
    )
    major: int = Field(
        default=1,
        ge=1,
        description="Major version of the request's and the answer's schema. A bundle that callers "
        "of the champion could not call is refused unless this is raised.",
    )
