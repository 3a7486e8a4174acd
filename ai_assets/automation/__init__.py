"""What starts work: conditions, sensors, schedules, and the journey of `make run`."""

from ai_assets.automation.conditions import condition
from ai_assets.automation.sensors import product_sensors

__all__ = ["condition", "product_sensors"]
