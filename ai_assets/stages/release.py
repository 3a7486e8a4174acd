"""release: what is in production, as an append-only ledger; its history is that of production."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from ai_assets.resources.append_only import OutrunError
from ai_assets.resources.ledger import Entry, told_when
from ai_assets.resources.notify import Alert
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, StageRun, digest
from ai_assets.stages.releasable import (
    bundle_of,
    check_built,
    check_releasable,
    gated_bundle,
    learned_until,
    takes_effect,
)
from ai_assets.stages.release_config import ReleaseConfig
from ai_assets.stages.training_data import artifact, read_json
from ai_assets.stages.trial import begin_trial, cause_of, change_trial, why_waits

_SHOWN = (
    "stable", "candidate", "mode", "split", "cause", "who", "why", "decision_id",
)  # fmt: skip
_TRIES = 5
_RULE: dict[str, Any] = {
    "rule": pl.String, "allows": pl.Boolean, "value": pl.Float64, "limit": pl.Float64,
    "words": pl.String,
}  # fmt: skip


def append_release(run: StageRun) -> Outcome:
    """Put a bundle into production, or try one beside it. What is so already stays as it is.

    Raises:
        DataError: no such bundle was built, or it did not pass its gate and no decision asked.
    """
    config = run.config or ReleaseConfig()
    said = decided(run, config)
    history = run.tools.ledger.history(run.product.name)
    newest = history.row(-1, named=True) if history.height else None
    since = newest["effective_from"] if newest else None
    if newest is not None:
        follow_registry(run, newest["stable"])
    return Outcome(
        digest("\n".join(history["decision_id"].to_list())),
        {
            **told_of(newest),
            "outcome": said,
            **judged(run, config),
            "releases": history.height,
            "history": shown.table(history.select(told_when(since), *_SHOWN)),
        },
    )


def decided(run: StageRun, config: ReleaseConfig) -> str:
    """Do what is asked for by what the ledger says, and anew where another run came in between.

    Raises:
        OutrunError: others came in between each time.
    """
    change = change_trial if config.of_a_trial() else take_over
    for _ in range(_TRIES):
        history = run.tools.ledger.history(run.product.name)
        try:
            return change(run, config, history)
        except OutrunError as error:
            outrun = error
            run.say("Another release came in between; this one is decided on anew.")
    raise outrun


def take_over(run: StageRun, config: ReleaseConfig, history: pl.DataFrame) -> str:
    """Put a bundle into production, or begin to as the product declares; what came of it."""
    ledger, product = run.tools.ledger, run.product.name
    bundle = asked_bundle(run, config, history)
    effective = effective_from(run, config, bundle, history)
    before = ledger.as_of(product, effective)
    kept = why_kept(run, config, bundle) or why_not_again(config, bundle, history)
    if kept is not None:
        return kept
    gate = check_releasable(run, bundle, history["stable"].to_list(), config.override_gate)
    if config.decision is not None and before is not None:
        if why := why_waits(run, config, bundle, history):
            return why
        if run.product.declaration.rollout.mode != "direct":
            return begin_trial(run, config, bundle, effective, history, gate)
    tried = before.candidate if before else None
    if not config.names_one() and before is not None and tried == bundle:
        return f"{bundle} is tried beside {before.stable} already. To end that, set end: promote."
    # Who names what is in production wants it to answer alone.
    if before is None or before.stable != bundle or (config.names_one() and tried):
        entry = ledger.append(
            _entry(run, config, bundle, effective, before, gate), after=history.height
        )
        kept = why_not_anew(entry, bundle, ledger.history(product))
    ended = f" The trial of {tried} has ended." if tried not in (None, bundle) else ""
    return kept or f"{bundle} is in production.{ended}"


def told_of(newest: dict[str, Any] | None) -> dict[str, Any]:
    """What is in production, and what is tried beside it."""
    if newest is None:
        return {"stable": "none", "candidate": "none", "mode": "none", "decision": ""}
    when = told_when(newest["effective_from"])
    return {
        "stable": newest["stable"],
        "candidate": newest["candidate"] or "none",
        "mode": newest["mode"] or "none",
        "split": newest["split"] or 0.0,
        when: str(newest[when]),
        **{name: newest[name] for name in ("cause", "who", "why")},
        "release": newest["release_id"],
        "decision": newest["decision_id"],
    }


def judged(run: StageRun, config: ReleaseConfig) -> dict[str, Any]:
    """The rules and numbers that the decision behind a step stands on."""
    found = None
    if config.of_a_trial() and config.decision is not None:
        found = run.tools.decisions.find(run.product.name, config.decision)
    if found is None:
        return {}
    columns = ("rule", "allows", "value", "limit", "words")
    rows = [{name: rule.get(name) for name in columns} for rule in found["evidence"]["reasons"]]
    counts = found["evidence"].get("observed", {})
    return {
        "judged": shown.table(pl.DataFrame(rows, schema=_RULE)),
        "observed": shown.json(counts),
        **shown.numbers({r["rule"]: r["value"] for r in rows if r["value"] is not None}),
    }


def asked_bundle(run: StageRun, config: ReleaseConfig, history: pl.DataFrame) -> str:
    """The bundle to release: the one that is named, by itself or by its partition, or that of the
    run's partition.

    Under a decision it is that one whether or not it passed its gate.

    Raises:
        DataError: no bundle of that tag was built, or there is none to release.
    """
    if config.bundle is not None:
        return check_built(run, config.bundle)
    if config.partition is not None:
        released = history["stable"].to_list()
        return bundle_of(run, config.partition, released, config.override_gate)
    if config.decision is not None:
        return str(read_json(artifact(run, "bundle"), "bundle.json")["tag"])
    return gated_bundle(run)


def why_kept(run: StageRun, config: ReleaseConfig, bundle: str) -> str | None:
    """Why a challenger that a decision asked for does not take over; None where it does."""
    if config.decision is None or config.override_gate:
        return None
    gate = read_json(artifact(run, "gate"), "gate.json")
    if gate["bundle"] != bundle or not gate["passed"]:
        return f"{bundle} stays a challenger: {gate.get('against') or gate['words']}"
    if run.product.declaration.retrain.approval == "manual":
        return ask_for_approval(run, config.decision, bundle)
    return None


def why_not_again(config: ReleaseConfig, bundle: str, history: pl.DataFrame) -> str | None:
    """Why a bundle that was taken back is not released by a run that names none; None if it was
    not taken back, or is asked for."""
    if config.names_one() or config.decision is not None:
        return None
    entries = history.with_row_index("place")
    tried = entries.filter(pl.col("candidate") == bundle)["place"].max()
    if tried is None or bundle in entries.filter(pl.col("place") > tried)["stable"].to_list():
        return None
    after = entries.filter(pl.col("place") > tried)
    if after.is_empty():
        return None
    by = after.row(0, named=True)
    return (
        f"{bundle} was taken back by {by['who']}: {by['why']} To release it all the same, name it "
        "as bundle."
    )


def ask_for_approval(run: StageRun, decision: str, bundle: str) -> str:
    """Tell people, once a decision, that a challenger waits for them; what they are told."""
    product = run.product.name
    direct = run.product.declaration.rollout.mode == "direct"
    words = (
        f"{bundle} passed its gate and waits for approval. Approve it by materializing "
        f"{product}/release with {'bundle' if direct else 'candidate'}: {bundle}, who and why."
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


def effective_from(
    run: StageRun, config: ReleaseConfig, bundle: str, history: pl.DataFrame
) -> datetime:
    """From when on in event time it is in production.

    The bundle of the run's own partition from that partition's end on. One that is named by hand
    from the end of the newest scored partition on: a release by hand says what answers from now on,
    not what should have answered. `releasable` says why neither asks the clock.
    """
    if run.partition is None or config.names_one():
        return takes_effect(run, bundle, history)
    return learned_until(run, bundle)


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
        cause="first release" if before is None else cause_of(run, config),
        who=config.who,
        why=f"{config.why} (gate overridden)" if overridden else config.why,
        gate=json.dumps(gate, sort_keys=True) if gate else "",
    )
