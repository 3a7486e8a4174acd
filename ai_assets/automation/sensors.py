"""The sensors of a product. What a tick does is imported with the first one."""

from datetime import UTC, datetime

import dagster as dg

from ai_assets.automation.ticks import tick_seconds
from ai_assets.lifecycle.product import Product

LEARNING = (
    "training_set",
    "tuning",
    "model",
    "compressed_model",
    "evaluation",
    "model_card",
    "bundle",
    "gate",
    "release",
)


def product_sensors(
    product: Product, assets: list[dg.AssetsDefinition]
) -> list[dg.SensorDefinition]:
    """The sensors of one product."""
    landing = any(table.source.landing for table in product.declaration.tables.values())
    files = [landing_sensor(product)] if landing else []
    return [retraining_sensor(product, assets), canary_sensor(product), *files]


def retraining_sensor(product: Product, assets: list[dg.AssetsDefinition]) -> dg.SensorDefinition:
    """The sensor of one product: each new verdict gets one recorded decision.

    A decision's id comes from its verdict, and the run it asks for has that id as its key: after a
    restart, a lost cursor or a report that was made anew, nothing is decided or started twice.
    """
    keys = learning_keys(assets)

    @dg.sensor(
        name=f"{product.name}_retraining",
        target=dg.AssetSelection.assets(*keys),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=tick_seconds(),
        description="Reads verdicts; retrains, waits or alerts as `retrain:` in the YAML says.",
        required_resource_keys={"decisions", "notifier"},
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from ai_assets.automation.retraining import tick

        return tick(context, product, keys)

    return sensor


def learning_keys(assets: list[dg.AssetsDefinition]) -> list[dg.AssetKey]:
    """The assets that make and release a challenger."""
    specs = [spec for definition in assets for spec in definition.specs]
    return [spec.key for spec in specs if spec.tags.get("stage") in LEARNING]


def canary_sensor(product: Product) -> dg.SensorDefinition:
    """The sensor of one product: each entry of the ledger with a candidate is decided on once.

    A decision's id comes from its entry, is the key of the run that carries it out, and is recorded
    in the ledger by it: after a restart or a lost history nothing is decided or done twice. It runs
    by itself where the product declares a rollout; else a person may start it.
    """
    direct = product.declaration.rollout.mode == "direct"

    @dg.sensor(
        name=f"{product.name}_canary",
        target=dg.AssetSelection.assets(dg.AssetKey(product.asset("release").key)),
        default_status=dg.DefaultSensorStatus.STOPPED if direct else dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=tick_seconds(),
        description="Widens, promotes or takes back a candidate as `rollout:` in the YAML says. "
        "Off at first where that has mode direct: switch it on for a canary begun by hand.",
        required_resource_keys={"decisions", "ledger", "notifier"},
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from ai_assets.automation.canary import tick

        return tick(context, product, datetime.now(UTC))

    return sensor


def landing_sensor(product: Product) -> dg.SensorDefinition:
    """The sensor of one product: each complete file in a landing folder has its table read once."""
    tables = product.declaration.tables.items()
    raw = [
        dg.AssetKey(product.asset(f"raw/{name}").key)
        for name, table in tables
        if table.source.landing
    ]

    @dg.sensor(
        name=f"{product.name}_landing",
        target=dg.AssetSelection.assets(*raw),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=tick_seconds(),
        description="Has a table read when a new file has landed in its folder and is complete.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from ai_assets.automation.landing import tick

        return tick(context, product)

    return sensor
