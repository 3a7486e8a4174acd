"""What a product declares about compression: the `compression:` part of its YAML."""

from typing import Literal, get_args

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section

Method = Literal["student", "pruning", "sparsity", "int8_weights", "int8_static", "int8_dynamic"]
METHODS: tuple[Method, ...] = get_args(Method)


class Compression(Section):
    """The budget of the artifact that is served, and what may be tried to stay within it."""

    max_metric_loss: float = Field(
        0.005,
        ge=0,
        description="How much worse than its parent the served model may be on validation rows, in "
        "units of the training metric; where that has the unit of the target (rmse, mae), as a "
        "share of the parent's.",
    )
    methods: list[Method] = Field(
        default_factory=lambda: list(METHODS),
        description="What may be tried, of what the winner's family knows. student: smaller models "
        "that imitate the winner (distillation), the smallest first, until one is within the "
        "budget. pruning: networks without the channels that matter least, trained on. sparsity: "
        "networks with most weights at 0, trained on: smaller files, no quicker. int8_weights: "
        "weights stored in 8-bit integers. int8_static, int8_dynamic: activations in 8-bit "
        "integers too, of ranges known beforehand or measured on the way. All but the first three "
        "are also tried of each other's results. Default: all.",
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
