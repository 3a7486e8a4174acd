"""`make products`: every shipped product, from raw data to a release and its reports."""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from ai_assets.automation.materialize import Step
from ai_assets.journey import DATA, MODEL, RELEASE, STEPS, WATCH, take
from ai_assets.journey import PRODUCT as FLAGSHIP
from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.partitions import Partitions
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.lifecycle.sources.written import last_written
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.serving.leaving import leave

FOLDER = Path(__file__).resolve().parent / "products"
METRICS = (
    "log_loss", "accuracy", "macro_f1", "roc_auc", "brier",
    "poisson_deviance", "rmse", "mae", "r2",
)  # fmt: skip
"""What is told of a product, where its task has it."""


def main(arguments: list[str] | None = None) -> int:
    """Materialize every product, or those named; ends with a table of what was released."""
    names = [product.name for product in shipped()]
    parser = argparse.ArgumentParser(prog="python -m ai_assets.shipped", description=__doc__)
    parser.add_argument("products", nargs="*", metavar="product", help=f"any of {', '.join(names)}")
    asked = parser.parse_args(arguments).products or names
    if unknown := [name for name in asked if name not in names]:
        print(must_be("product", names, unknown[0]), file=sys.stderr)
        return 2
    if not os.environ.get("DAGSTER_HOME"):
        print("DAGSTER_HOME is not set. Run `make products`, which sets it.", file=sys.stderr)
        return 2
    from ai_assets.definitions import defs

    definitions, began, rows = defs(), time.monotonic(), []
    with dg.DagsterInstance.get() as instance:
        for product in shipped():
            if product.name not in asked:
                continue
            print(f"\n{product.name}: {product.declaration.description}", flush=True)
            started = time.monotonic()
            if not take(steps_of(product), definitions, instance, written(product)):
                return 1
            rows.append([*released(instance, product), f"{time.monotonic() - started:.0f} s"])
    print()
    for row in rows:
        print("  ".join(f"{cell:<28}" for cell in row).rstrip())
    print(f"\nDone in {time.monotonic() - began:.0f} s. `make dev` shows them side by side.")
    return 0


def shipped() -> list[Product]:
    """The products below `products/`, by name; the flagship first."""
    found = [read_product(file.parent) for file in sorted(FOLDER.glob("*/defs.yaml"))]
    return sorted(found, key=lambda product: product.name != FLAGSHIP)


def steps_of(product: Product) -> list[Step]:
    """What makes a product's first release, and watches it."""
    if product.name == FLAGSHIP:
        return list(STEPS)
    if product.partitions is not None:
        return _steps_through_time(product.name, product.partitions)
    stages = (*DATA, "online") if product.history else DATA
    return [
        Step("raw data to features", product.name, stages),
        Step("tune, learn, compress, judge", product.name, MODEL),
        Step("build, sign, pass the gate, release", product.name, RELEASE),
        Step("predictions, drift, performance and the verdict", product.name, WATCH),
    ]


def _steps_through_time(name: str, partitions: Partitions) -> list[Step]:
    """Learned as of the last partition but one, watched on the last; those up to today if open."""
    keys = [partitions.first]
    newest = partitions.key_at(datetime.now(UTC))
    while partitions.contains(after := partitions.shift(keys[-1], 1)) and after <= newest:
        keys.append(after)
    if len(keys) < 2:
        raise DeclarationError(
            f"partitions of '{name}' must be two or more, to learn from and to watch, but got "
            f"{keys}."
        )
    as_of, watched = keys[-2:]
    return [
        Step(f"up to {as_of}: raw data to features", name, DATA, keys[0], as_of),
        Step(f"as of {as_of}: tune, learn, compress, judge", name, MODEL, as_of, as_of),
        Step(f"as of {as_of}: build, sign, pass the gate, release", name, RELEASE, as_of, as_of),
        Step(f"{watched}: raw data to features", name, DATA, watched, watched),
        Step("the latest rows, for the server to read", name, ("online",), watched, watched),
        Step(f"{watched}: predictions, drift and the verdict", name, WATCH, watched, watched),
    ]


def written(product: Product) -> dict[dg.AssetKey, float]:
    """When the files that the product's tables are read from last changed, by asset."""
    found = {
        dg.AssetKey(product.asset(f"raw/{name}").key): last_written(table.source, product.folder)
        for name, table in product.declaration.tables.items()
    }
    return {key: at for key, at in found.items() if at is not None}


def released(instance: dg.DagsterInstance, product: Product) -> list[str]:
    """The product's name, the bundle in production, and what its evaluation says of it."""
    event = instance.get_latest_materialization_event(dg.AssetKey(product.asset("evaluation").key))
    told = event.asset_materialization if event is not None else None
    metrics = {n: v.value for n, v in told.metadata.items()} if told is not None else {}
    newest = ReleaseLedger(lake=Lake()).history(product.name).row(-1, named=True)["stable"]
    return [product.name, str(newest), figures_in(metrics)]


def figures_in(metadata: Mapping[str, object]) -> str:
    """What an evaluation measured, in words."""
    there = [name for name in METRICS if name in metadata]
    return ", ".join(f"{name} {float(str(metadata[name])):.4f}" for name in there)


if __name__ == "__main__":
    leave(main())
