"""What every part of a declaration is."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

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


Mistake = tuple[tuple[str | int, ...], Any, str]
"""Where below a field something is wrong, what was given there, and a sentence."""


def located(mistakes: Iterable[Mistake]) -> ValidationError:
    """The error of mistakes that lie deeper than the field whose validator raises it.

    Each is then told by its own line of the YAML.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{said}", {"said": said}), loc=at, input=given
        )
        for at, given, said in mistakes
    ]
    return ValidationError.from_exception_data("declaration", details)
