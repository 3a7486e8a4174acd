"""What the components of all kinds have in common: a declaration becomes stages."""

from dataclasses import dataclass
from typing import ClassVar, Self

import dagster as dg
from pydantic import BaseModel

from ai_assets.automation import condition, product_sensors
from ai_assets.lifecycle.product import Product, TabularDeclaration
from ai_assets.stages import stages_of
from ai_assets.stages.binding import bind


@dataclass
class KindOfProduct(dg.Component):
    """An AI product of some kind: its declaration, and its whole life as assets."""

    declaration: TabularDeclaration

    declares: ClassVar[type[TabularDeclaration]]
    summary: ClassVar[str]

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of `attributes:`; the same class that the stages read."""
        return cls.declares

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        return cls(cls.declares.model_validate(attributes))

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(description=cls.summary, tags=[cls.declares.kind])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        product = Product(context.path.name, context.path, self.declaration)
        assets = [bind(product, stage, condition(product, stage)) for stage in stages_of(product)]
        return dg.Definitions(assets=assets, sensors=product_sensors(product, assets))
