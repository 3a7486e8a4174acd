"""What a model of pictures or texts must withstand."""

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class Withstands(Section):
    """Limits of a check that warns; without them it tells the figures."""

    min_corrupted: float | None = Field(
        None, ge=0, le=1, description="Mean accuracy over all corruptions and severities, at least."
    )
    min_attacked: float | None = Field(
        None, ge=0, le=1, description="Accuracy that remains under an adversary, at least."
    )
    epsilon: float = Field(
        0.05,
        gt=0,
        le=1,
        description="Of images: how far an adversary may move each pixel, of 1 (white).",
    )
