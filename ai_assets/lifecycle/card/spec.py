"""What a product declares for its model card: the `card:` part of its YAML."""

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class Card(Section):
    """What no figure tells."""

    intended_use: str = Field("", description="Whom and what the product is for.")
    out_of_scope: str = Field("", description="What it must not be used for.")
    licence: str = Field("", description="Licence of model and data, and whom to credit.")
    notes: list[str] = Field(
        default_factory=list, description="What else people should know, a paragraph each."
    )
