"""What every part of a declaration is."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from ai_assets.lifecycle.errors import did_you_mean


class Section(BaseModel):
    """A part of the declaration. Unknown fields are refused, with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields and (near := did_you_mean(name, cls.model_fields)):
                    raise ValueError(f"'{name}' is not a field here.{near}")
        return given
