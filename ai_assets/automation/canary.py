"""A tick of the canary sensor: it decides on a step from ledger and log, and has it carried out."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from ai_assets.automation.observing import observe, told, trial_of
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.rollout.decide import Step, Trial, decide, decision_id
from ai_assets.lifecycle.rollout.observed import Observed
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.notify import Alert, Notifier
from ai_assets.serving.record.store import log_place, read_store
from ai_assets.stages.binding import DECISION_TAG

WHO = "canary sensor"
MOST_RUNS = 3
_ENDS = {"promote": "promote", "roll_back": "drop"}


def tick(context: dg.SensorEvaluationContext, product: Product, now: datetime) -> dg.SensorResult:
    """Decide on the newest entry of the ledger, if it tries a candidate and is not decided on."""
    ledger: ReleaseLedger = context.resources.ledger
    log: DecisionLog = context.resources.decisions
    history = ledger.history(product.name)
    trial = trial_of(history.row(-1, named=True)) if history.height else None
    if trial is None:
        return dg.SensorResult(skip_reason="No candidate is tried.")
    known = log.find(product.name, decision_id(trial))
    if known is None:
        observed = look(product, trial)
        step = decide(product.declaration.rollout, trial, observed, now)
        context.log.info(f"{step.action}: {step.why}")
        if step.action == "wait":
            return dg.SensorResult(skip_reason=step.why)
        known = record(context, trial, step, observed, now)
    return carry_out(context, product, trial, known)


def look(product: Product, trial: Trial) -> Observed:
    """How both have answered since the step began.

    Raises:
        LogError: the log is there and cannot be read; nothing is decided then.
    """
    store = read_store(log_place(product.name, os.environ.get("AI_ASSETS_LOG", "")))
    try:
        return observe(store, product, trial)
    finally:
        if store is not None:
            store.close()


def record(
    context: dg.SensorEvaluationContext, trial: Trial, step: Step, observed: Observed, now: datetime
) -> dict[str, Any]:
    """Write the decision down; what is now recorded."""
    log: DecisionLog = context.resources.decisions
    evidence = {
        "observed": told(observed),
        "trial": {"release_id": trial.release_id, "stable": trial.stable, "mode": trial.mode,
                  "candidate": trial.candidate, "split": trial.split},
        "split": step.split,
    }  # fmt: skip
    log.record(step, evidence, who=WHO, recorded_at=now)
    found = log.find(trial.product, step.decision_id)
    assert found is not None
    return found


def carry_out(
    context: dg.SensorEvaluationContext, product: Product, trial: Trial, known: Mapping[str, Any]
) -> dg.SensorResult:
    """Tell people what is recorded, and have `release` do it; a run that failed is started again,
    a few times.

    They are told in each tick until it is done, and the notifier sends an alert once: whenever a
    process dies, people hear of the decision that stands, and of no other.
    """
    notifier: Notifier = context.resources.notifier
    if known["action"] in _ENDS:
        notifier.notify(alert_on(trial, known))
    name = known["decision_id"]
    runs = context.instance.get_runs(dg.RunsFilter(tags={DECISION_TAG: name}))
    if any(not run.is_finished for run in runs):
        return dg.SensorResult(skip_reason=f"A run carries out: {known['why']}")
    if len(runs) >= MOST_RUNS:
        words = f"{len(runs)} runs have not carried it out, a person must: {known['why']}"
        notifier.notify(alert_on_stuck(trial, known, words))
        return dg.SensorResult(skip_reason=words)
    request = request_of(product, trial, known, again=len(runs))
    return dg.SensorResult(run_requests=[request])


def request_of(
    product: Product, trial: Trial, known: Mapping[str, Any], again: int
) -> dg.RunRequest:
    """The run of `release` that carries out a decision on a step."""
    asset, action = product.asset("release"), known["action"]
    does = {"split": known["evidence"]["split"]} if action == "widen" else {"end": _ENDS[action]}
    config = {
        **does,
        "who": WHO,
        "why": known["why"],
        "decision": known["decision_id"],
        "expects": trial.release_id,
    }
    return dg.RunRequest(
        run_key=known["decision_id"] + (f"/{again}" if again else ""),
        asset_selection=[dg.AssetKey(asset.key)],
        run_config={"ops": {"__".join(asset.key): {"config": config}}},
        tags={
            DECISION_TAG: known["decision_id"],
            "ai_assets/does": "rollout",
            "ai_assets/cause": known["cause"],
        },
    )


def alert_on(trial: Trial, known: Mapping[str, Any]) -> Alert:
    """A candidate that is taken back is for people to look into; one that takes over is news."""
    back = known["action"] == "roll_back"
    title = f"{trial.candidate} is to be {'taken back' if back else 'promoted'}"
    return Alert(
        product=trial.product,
        partition=None,
        kind="rollback" if back else "rollout",
        severity="error" if back else "info",
        title=f"{trial.product}: {title}",
        words=f"{title}, at {trial.split:.0%} of the traffic ({trial.mode}). {known['why']}",
        evidence=_evidence(trial, known),
        key=f"decision/{known['decision_id']}",
    )


def alert_on_stuck(trial: Trial, known: Mapping[str, Any], words: str) -> Alert:
    """What was decided is not done, and no further run is started."""
    still = f"{trial.candidate} still gets {trial.split:.0%} of the traffic ({trial.mode})."
    return Alert(
        product=trial.product,
        partition=None,
        kind="rollback" if known["action"] == "roll_back" else "rollout",
        severity="error",
        title=f"{trial.product}: {known['action'].replace('_', ' ')} is not carried out",
        words=f"{words} {still}",
        evidence=_evidence(trial, known),
        key=f"stuck/{known['decision_id']}",
    )


def _evidence(trial: Trial, known: Mapping[str, Any]) -> dict[str, Any]:
    return {"decision": known["decision_id"], "cause": known["cause"], "stable": trial.stable}
