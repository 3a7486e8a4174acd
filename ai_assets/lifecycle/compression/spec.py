"""What a product declares about compression: the `compression:` part of its YAML."""

from pydantic import Field

from ai_assets.lifecycle.schema.tables import Section


class Compression(Section):
    """The budget of the artifact that is served, and what may be tried to stay within it."""

    max_metric_loss: float = Field(
        0.005,
        ge=0,
        description="How much worse than its parent the served model may be on validation rows, in "
        "units of the training metric.",
    )
    student: bool = Field(
        True,
        description="Try models of fewer trees that imitate the winner (distillation), the "
        "smallest first, until one is within the budget.",
    )
    max_size: float | None = Field(
        None, gt=0, description="Largest served model, in MB (10^6 bytes). Default: no limit."
    )
    max_p99: float | None = Field(
        None,
        gt=0,
        description="Longest 99th percentile of scoring one row on one core, in milliseconds, "
        "model only. Default: no limit.",
    )
