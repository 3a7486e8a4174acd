"""release: what is in production, as an append-only ledger; its history is that of production."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.product import Product
from ai_assets.resources.ledger import Entry
from ai_assets.resources.notify import Alert
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, Stage, StageRun, Upstream, digest
from ai_assets.stages.training_data import artifact, read_json

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class ReleaseConfig(dg.Config):
    """Who releases what, and why. Without a bundle, the one of the run's partition; without a
    partition either, the newest one that passed its gate."""

    bundle: str | None = Field(
        default=None, description="Tag of the bundle to release; an earlier one rolls back to it."
    )
    who: str = Field(default="operator", description="Who decides.")
    why: str = Field(default="released by hand", description="The reason, for the history.")
    decision: str | None = Field(
        default=None,
        description="Id of the recorded decision that asked for this bundle. Where the gate says "
        "no, or a person must approve, what is in production then stays there.",
    )
    override_gate: bool = Field(
        default=False, description="Release a bundle that its gate did not pass. Recorded."
    )


def release_stage(product: Product) -> Stage:
    """The stage that appends to the ledger."""
    return Stage(
        stage="release",
        asset="release",
        description="What is in production: bundle, since when (event time), decided by whom, why.",
        compute=append_release,
        kinds=frozenset({"deltalake"}),
        upstream=[Upstream("gate")],
        partitioned=False,
        config=ReleaseConfig,
    )


def append_release(run: StageRun) -> Outcome:
    """Put a bundle into production. Releasing what is in production already changes nothing.

    Raises:
        DataError: no such bundle was built, or it did not pass its gate and no decision asked.
    """
    config = run.config or ReleaseConfig()
    ledger, product = run.tools.ledger, run.product.name
    history = ledger.history(product)
    bundle = asked_bundle(run, config)
    effective = effective_from(run, bundle, history)
    before = ledger.as_of(product, effective)
    kept = why_kept(run, config, bundle)
    if kept is None:
        gate = check_releasable(run, bundle, history["stable"].to_list(), config.override_gate)
        if before is None or before.stable != bundle:
            entry = ledger.append(_entry(run, config, bundle, effective, before, gate))
            history = ledger.history(product)
            kept = why_not_anew(entry, bundle, history)
    newest = history.row(-1, named=True) if history.height else None
    if newest is not None:
        follow_registry(run, newest["stable"])
    return Outcome(
        digest("\n".join(history["decision_id"].to_list())),
        {
            "stable": newest["stable"] if newest else "none",
            "outcome": kept or f"{bundle} is in production.",
            "effective_from": str(newest["effective_from"] if newest else effective),
            "decision": newest["decision_id"] if newest else "",
            "releases": history.height,
            "history": shown.table(
                history.select("effective_from", "stable", "cause", "who", "why", "decision_id")
            ),
        },
    )


def asked_bundle(run: StageRun, config: ReleaseConfig) -> str:
    """The bundle to release: the one that is named, or that of the run's partition.

    Under a decision it is that one whether or not it passed its gate.

    Raises:
        DataError: no bundle of that tag was built, or there is none to release.
    """
    if config.bundle is not None:
        return check_built(run, config.bundle)
    if config.decision is not None:
        return str(read_json(artifact(run, "bundle"), "bundle.json")["tag"])
    return gated_bundle(run)


def check_built(run: StageRun, bundle: str) -> str:
    """The tag, or DataError with the nearest one that was built."""
    known = run.tools.bundles.tags(run.product.name)
    if bundle not in known:
        raise DataError(
            f"bundle must be one that was built, but got {bundle!r}.{did_you_mean(bundle, known)}"
        )
    return bundle


def why_kept(run: StageRun, config: ReleaseConfig, bundle: str) -> str | None:
    """Why a challenger that a decision asked for does not take over; None where it does."""
    if config.decision is None or config.override_gate:
        return None
    gate = read_json(artifact(run, "gate"), "gate.json")
    if gate["bundle"] != bundle or not gate["passed"]:
        return f"{bundle} stays a challenger: {gate['words']}"
    if run.product.declaration.retrain.approval == "manual":
        return ask_for_approval(run, config.decision, bundle)
    return None


def ask_for_approval(run: StageRun, decision: str, bundle: str) -> str:
    """Tell people, once a decision, that a challenger waits for them; what they are told."""
    product = run.product.name
    words = (
        f"{bundle} passed its gate and waits for approval. Approve it by materializing "
        f"{product}/release with bundle: {bundle}, who and why."
    )
    run.tools.notifier.notify(
        Alert(
            product=product,
            partition=run.partition,
            kind="approval",
            severity="info",
            title=f"{product}: a challenger waits for approval",
            words=words,
            evidence={"decision": decision, "bundle": bundle},
            key=f"approval/{decision}",
        )
    )
    return words


def why_not_anew(entry: Entry, bundle: str, history: pl.DataFrame) -> str | None:
    """Why a decision that was carried out before is not carried out again; None if it was now.

    A decision releases once: where a person has gone back since, that stands.
    """
    newest = history.filter(pl.col("effective_from") <= entry.effective_from).row(-1, named=True)
    if entry.stable == bundle and newest["decision_id"] == entry.decision_id:
        return None
    return (
        f"Decision {entry.decision_id} was carried out before, with {entry.stable}; since then "
        f"{newest['who']} has put {newest['stable']} into production: {newest['why']}."
    )


def follow_registry(run: StageRun, stable: str) -> None:
    """Let the aliases of MLflow's registry name what is in production."""
    source = str(run.tools.bundles.payload(stable))
    run.tools.tracker.follow(run.product.name, stable, source)


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


def effective_from(run: StageRun, bundle: str, history: pl.DataFrame) -> datetime:
    """From when on in event time: the end of the bundle's partition, or, for a bundle named by hand
    or without partitions, no earlier than the newest release, which it is to replace."""
    partition = run.tools.bundles.load(bundle).partition
    partitions = run.product.partitions
    begins = partitions.span(partition).end if partitions and partition else _ALWAYS
    newest = history["effective_from"].max()
    named = run.partition is None or (run.config is not None and run.config.bundle is not None)
    return max(begins, newest) if named and isinstance(newest, datetime) else begins


def _entry(
    run: StageRun,
    config: ReleaseConfig,
    bundle: str,
    effective: datetime,
    before: Entry | None,
    gate: dict[str, Any],
) -> Entry:
    previous = before.decision_id if before else ""
    overridden = config.override_gate and not gate.get("passed")
    made = digest("\n".join([run.product.name, bundle, str(effective), previous]))
    return Entry(
        product=run.product.name,
        effective_from=effective,
        recorded_at=datetime.now(UTC),
        stable=bundle,
        decision_id=config.decision or made,
        cause=_cause(run, config, before),
        who=config.who,
        why=f"{config.why} (gate overridden)" if overridden else config.why,
        gate=json.dumps(gate, sort_keys=True) if gate else "",
    )


def _cause(run: StageRun, config: ReleaseConfig, before: Entry | None) -> str:
    if before is None:
        return "first release"
    if config.decision is None:
        return "by hand"
    found = run.tools.decisions.find(run.product.name, config.decision)
    return str(found["cause"]) if found else "decision"
