"""The kinds of products: one Dagster Component class each. Declares and wires; computes nothing."""

from ai_assets.components.image import ImageProduct
from ai_assets.components.tabular import TabularProduct
from ai_assets.components.text import TextProduct

__all__ = ["ImageProduct", "TabularProduct", "TextProduct"]
