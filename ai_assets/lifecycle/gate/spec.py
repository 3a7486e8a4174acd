"""What a bundle must meet to be released, as declared."""

from pydantic import Field, field_validator

from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.schema.tables import Section


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
            get_metric(name)
        return limits


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
