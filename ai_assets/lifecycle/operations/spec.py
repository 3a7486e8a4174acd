"""What the loop is compared with, as declared."""

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class Backtest(Section):
    """Policies that the loop is compared with."""

    rolling: int | None = Field(
        None,
        ge=1,
        description="Partitions that the policy `rolling` learns from. Default: the training "
        "window, so that nothing is fitted a second time.",
    )
