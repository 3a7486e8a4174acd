"""The kinds of products: one Dagster Component class each. Declares and wires; computes nothing."""

from ai_assets.components.tabular import TabularProduct

__all__ = ["TabularProduct"]
