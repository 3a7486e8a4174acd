"""The image kind: pictures in, what is on them out."""

from dataclasses import dataclass
from typing import ClassVar

import dagster as dg

from ai_assets.components.kind import KindOfProduct
from ai_assets.components.scaffolding import ImageScaffolder
from ai_assets.lifecycle.product import ImageDeclaration, TabularDeclaration


@dg.scaffold_with(ImageScaffolder)
@dataclass
class ImageProduct(KindOfProduct):
    """An AI product over images: give pictures and labels, get its whole life as assets."""

    declares: ClassVar[type[TabularDeclaration]] = ImageDeclaration
    summary: ClassVar[str] = (
        "An AI product over images: raw pictures to a released, watched bundle."
    )
