"""Which bundle may be released, and from when on.

The ledger's time is event time, not the clock's. A partition is scored with what the ledger names
at its start, so its answers follow from the ledger and the partition alone: a replay, a backfill or
a run that is repeated a year later gives the same ones. So:

- The bundle of a run's own partition, as a decision releases it, takes effect at that partition's
  end, however late the run is: killed and repeated it writes the same history.
- What a person asks for, or a trial comes to, has no partition of its own. It takes effect where
  the newest scored partition ends: what was scored before stays explained by what scored it, also
  where it is scored anew, and the next partition is scored with what was asked for.
"""

from datetime import datetime
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean, must_be
from ai_assets.lifecycle.naming import bundle_partition
from ai_assets.resources.ledger import ALWAYS
from ai_assets.stages.binding import StageRun
from ai_assets.stages.training_data import artifact, read_json


def check_built(run: StageRun, bundle: str, name: str = "bundle") -> str:
    """The tag, or DataError with the nearest one that was built."""
    known = run.tools.bundles.tags(run.product.name)
    if bundle not in known:
        raise DataError(
            f"{name} must be one that was built, but got {bundle!r}.{did_you_mean(bundle, known)}"
        )
    return bundle


def bundle_of(run: StageRun, asked: str, released: list[str], override: bool) -> str:
    """The newest bundle of a partition that may be released: it was before, or it passed its gate.

    Args:
        run: of the product.
        asked: the partition's key; of a month without its day will do, as `2013-03`.
        released: tags that were released before.
        override: whether a bundle that did not pass will do; then the newest of all.

    Raises:
        DataError: the partition has none; the message names those that have.
    """
    partitions = run.product.partitions
    if partitions is None:
        raise DataError(f"{run.product.name} has no partitions, so name a bundle instead.")
    keys = [key for key in run.lake.artifacts(run.name("bundle")) if key]
    built: dict[str, list[str]] = {}
    for tag in run.tools.bundles.tags(run.product.name):
        built.setdefault(bundle_partition(tag, keys) or "", []).append(tag)
    may = {
        key: fit[-1]
        for key in sorted(keys)
        if (fit := [t for t in built.get(key, []) if override or t in released or _passed(run, t)])
    }
    key = f"{asked}-01" if partitions.every == "month" and asked.count("-") == 1 else asked
    if key in may:
        return may[key]
    why = " Its bundle did not pass its gate; override_gate releases it." if key in built else ""
    raise DataError(must_be("partition", may, asked) + why)


def _passed(run: StageRun, bundle: str) -> bool:
    asset = run.name("gate")
    partition = bundle_partition(bundle, [k for k in run.lake.artifacts(asset) if k])
    if partition is None:
        return False
    gate = read_json(run.lake.artifact(asset, partition), "gate.json")
    return bool(gate["passed"] and gate["bundle"] == bundle)


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
    why = gate.get("against") or gate.get("words", "it was not judged")
    raise DataError(
        f"{bundle} did not pass its gate: {why} To release it all the same, set override_gate."
    )


def learned_until(run: StageRun, bundle: str) -> datetime:
    """The end of the bundle's partition, in event time: no row before it is its to score."""
    partition = run.tools.bundles.load(bundle).partition
    partitions = run.product.partitions
    return partitions.span(partition).end if partitions and partition else ALWAYS


def takes_effect(run: StageRun, bundle: str | None, history: pl.DataFrame) -> datetime:
    """From when on in event time an entry counts that replaces the newest one.

    It is the latest of three moments: the end of what its bundle learned from, the newest entry's
    moment (of one moment the last recorded counts), and the end of the newest partition that was
    scored, since what answered there did not become another by a later word.

    Args:
        run: of the product.
        bundle: the tag that is new in the entry; None where it only takes a candidate away.
        history: the product's releases. Before the first, nothing was in production to be replaced.
    """
    begins = learned_until(run, bundle) if bundle else ALWAYS
    newest = history["effective_from"].max()
    return max(begins, newest, scored_until(run)) if isinstance(newest, datetime) else begins


def scored_until(run: StageRun) -> datetime:
    """The end of the newest partition of which a row was scored, in event time.

    One without rows is there where a group is materialized as a whole; it says nothing of what
    answers. Without partitions there is one moment, always: of its entries the last recorded
    counts.
    """
    partitions, name = run.product.partitions, run.name("predictions")
    if partitions is None:
        return ALWAYS
    for key in reversed(run.lake.partitions(name)):
        if run.lake.scan(name, [key]).head(1).collect().height:
            return partitions.span(key).end
    return ALWAYS
