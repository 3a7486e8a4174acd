"""The tabular kind: rows in, a class out."""

from dataclasses import dataclass
from typing import Self

import dagster as dg
from pydantic import BaseModel

from ai_assets.automation import condition, product_sensors
from ai_assets.lifecycle.product import Product, TabularDeclaration
from ai_assets.stages import tabular_stages
from ai_assets.stages.binding import bind


@dataclass
class TabularProduct(dg.Component):
    """An AI product over tables: give tables and a label, get its whole life as assets."""

    declaration: TabularDeclaration

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of `attributes:`; the same class that the stages read."""
        return TabularDeclaration

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        return cls(TabularDeclaration.model_validate(attributes))

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description="An AI product over tables: raw data to a released, watched bundle.",
            tags=["tabular"],
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        product = Product(context.path.name, context.path, self.declaration)
        stages = tabular_stages(product)
        assets = [bind(product, stage, condition(product, stage)) for stage in stages]
        return dg.Definitions(assets=assets, sensors=product_sensors(product, assets))
