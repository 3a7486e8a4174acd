"""How a product is served, as it declares it. The environment of a server overrides it."""

from typing import Any, Literal

from pydantic import Field, field_validator

from ai_assets.lifecycle.schema.section import Section


class Serving(Section):
    """What the bundle's server does."""

    log: Literal["durable", "async", "off"] = Field(
        "durable",
        description="When an answer is given: once its record is on the disk (durable); at once "
        "(async: the process's end may cost the record of the answers of the last 0.05 seconds and "
        "of those being written, at most as many as may wait); or without any record (off).",
    )

    @field_validator("log", mode="before")
    @classmethod
    def _off_is_false_in_yaml(cls, given: Any) -> Any:
        return "off" if given is False else given
