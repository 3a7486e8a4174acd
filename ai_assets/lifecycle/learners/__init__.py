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
"""Those that compete unless others are declared, by the kind of product."""
_ALSO: dict[str, tuple[str, ...]] = {
    "tabular": ("extra_trees",),
    # Pixels as numbers; to compare with.
    "image": FAMILIES,
}
ALLOWED_OF: dict[str, tuple[str, ...]] = {
    kind: names + _ALSO.get(kind, ()) for kind, names in FAMILIES_OF.items()
}
"""Those that a product may declare, by its kind."""
ALL_FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(sum(ALLOWED_OF.values(), ())))


def get_family(name: str) -> "Family":
    """The family of that name.

    Raises:
        DeclarationError: there is none; the nearest name is offered.
    """
    if name not in ALL_FAMILIES:
        raise DeclarationError(must_be("family", ALL_FAMILIES, name))
    family: Family = import_module(f"{__name__}.{name}").FAMILY
    return family
