"""Which bundle may be released, and from when on."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.stages.binding import StageRun
from ai_assets.stages.training_data import artifact, read_json

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def check_built(run: StageRun, bundle: str, name: str = "bundle") -> str:
    """The tag, or DataError with the nearest one that was built."""
    known = run.tools.bundles.tags(run.product.name)
    if bundle not in known:
        raise DataError(
            f"{name} must be one that was built, but got {bundle!r}.{did_you_mean(bundle, known)}"
        )
    return bundle


def gated_bundle(run: StageRun) -> str:
    """The bundle of the run's partition, or of the newest partition that passed its gate.

    Raises:
        DataError: none has passed.
    """
    if run.partition is not None or run.product.partitions is None:
        return str(read_json(artifact(run, "bundle"), "bundle.json")["tag"])
    for partition in reversed(run.lake.artifacts(run.name("gate"))):
        gate = read_json(run.lake.artifact(run.name("gate"), partition), "gate.json")
        if gate["passed"]:
            return str(gate["bundle"])
    raise DataError(
        f"There is nothing to release: no bundle of {run.product.name} has passed its gate."
    )


def check_releasable(
    run: StageRun, bundle: str, released: list[str], override: bool
) -> dict[str, Any]:
    """The gate's result for a bundle that may be released; one released before needs no new one.

    Raises:
        DataError: its gate was not passed and not overridden.
    """
    partition = run.tools.bundles.load(bundle).partition
    asset = run.name("gate")
    gate: dict[str, Any] = {}
    if partition is None or partition in run.lake.artifacts(asset):
        found = read_json(run.lake.artifact(asset, partition), "gate.json")
        gate = found if found["bundle"] == bundle else {}
    if gate.get("passed") or bundle in released or override:
        return gate
    why = gate.get("words", "it was not judged")
    raise DataError(
        f"{bundle} did not pass its gate: {why} To release it all the same, set override_gate."
    )


def learned_until(run: StageRun, bundle: str) -> datetime:
    """The end of the bundle's partition, in event time: no row before it is its to score."""
    partition = run.tools.bundles.load(bundle).partition
    partitions = run.product.partitions
    return partitions.span(partition).end if partitions and partition else _ALWAYS


def not_before(moment: datetime, history: pl.DataFrame) -> datetime:
    """The moment, or that of the newest release, which the next one is to replace."""
    newest = history["effective_from"].max()
    return max(moment, newest) if isinstance(newest, datetime) else moment
