"""Families of models: how to fit one, predict with it, and export it to ONNX."""

from importlib import import_module
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import DeclarationError, must_be

if TYPE_CHECKING:
    from ai_assets.lifecycle.learners.base import Family

FAMILIES: tuple[str, ...] = ("linear", "lightgbm", "mlp")
"""Of tables."""
FAMILIES_OF: dict[str, tuple[str, ...]] = {
    "tabular": FAMILIES,
    "image": ("cnn",),
    "text": ("probe", "encoder"),
}
"""By the kind of product."""
_ANY_NUMBERS: dict[str, tuple[str, ...]] = {"image": FAMILIES}
"""Families that read a kind too, pixels as numbers; to compare with."""
ALL_FAMILIES: tuple[str, ...] = tuple(name for names in FAMILIES_OF.values() for name in names)


def allowed_families(kind: str) -> tuple[str, ...]:
    """The families that a product of the kind may declare."""
    return FAMILIES_OF[kind] + _ANY_NUMBERS.get(kind, ())


def get_family(name: str) -> "Family":
    """The family of that name.

    Raises:
        DeclarationError: there is none; the nearest name is offered.
    """
    if name not in ALL_FAMILIES:
        raise DeclarationError(must_be("family", ALL_FAMILIES, name))
    family: Family = import_module(f"{__name__}.{name}").FAMILY
    return family
