"""Families of models: how to fit one, predict with it, and export it to ONNX."""

from importlib import import_module
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import DeclarationError, must_be

if TYPE_CHECKING:
    from ai_assets.lifecycle.learners.base import Family

FAMILIES: tuple[str, ...] = ("linear", "lightgbm", "mlp")


def get_family(name: str) -> "Family":
    """The family of that name.

    Raises:
        DeclarationError: there is none; the nearest name is offered.
    """
    if name not in FAMILIES:
        raise DeclarationError(must_be("family", FAMILIES, name))
    family: Family = import_module(f"{__name__}.{name}").FAMILY
    return family
