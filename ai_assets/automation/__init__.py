"""What starts work: conditions, sensors, schedules, and the journey of `make run`."""

import dagster as dg

from ai_assets.automation.canary import canary_sensor
from ai_assets.automation.conditions import condition
from ai_assets.automation.retraining import retraining_sensor
from ai_assets.lifecycle.product import Product

__all__ = ["condition", "product_sensors"]


def product_sensors(
    product: Product, assets: list[dg.AssetsDefinition]
) -> list[dg.SensorDefinition]:
    """The sensors of one product."""
    return [retraining_sensor(product, assets), canary_sensor(product)]
