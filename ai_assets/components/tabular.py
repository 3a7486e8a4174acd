"""The tabular kind: rows in, a class out."""

from dataclasses import dataclass
from typing import ClassVar

import dagster as dg

from ai_assets.components.kind import KindOfProduct
from ai_assets.components.scaffolding import TabularScaffolder
from ai_assets.lifecycle.product import TabularDeclaration


@dg.scaffold_with(TabularScaffolder)
@dataclass
class TabularProduct(KindOfProduct):
    """An AI product over tables: give tables and a label, get its whole life as assets."""

    declares: ClassVar[type[TabularDeclaration]] = TabularDeclaration
    summary: ClassVar[str] = "An AI product over tables: raw data to a released, watched bundle."
