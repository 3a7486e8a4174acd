"""The text kind: texts in, what they are about out."""

from dataclasses import dataclass
from typing import ClassVar

import dagster as dg

from ai_assets.components.kind import KindOfProduct
from ai_assets.components.scaffolding import TextScaffolder
from ai_assets.lifecycle.product import TabularDeclaration, TextDeclaration


@dg.scaffold_with(TextScaffolder)
@dataclass
class TextProduct(KindOfProduct):
    """An AI product over texts: give texts and labels, get its whole life as assets."""

    declares: ClassVar[type[TabularDeclaration]] = TextDeclaration
    summary: ClassVar[str] = "An AI product over texts: raw texts to a released, watched bundle."
