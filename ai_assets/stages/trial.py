"""A candidate beside the bundle in production: how a trial begins, changes and ends.

Each is an entry of the ledger, as a release is. In event time it counts from when the candidate may
score, no earlier than the release beside it, and after what was scored already (`releasable`); of
one moment the last recorded counts.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.resources.ledger import Entry, Mode
from ai_assets.resources.notify import Alert
from ai_assets.stages.binding import StageRun, digest
from ai_assets.stages.releasable import (
    check_built,
    check_releasable,
    takes_effect,
)
from ai_assets.stages.release_config import ReleaseConfig


@dataclass(frozen=True)
class Asked:
    """What the newest entry is to become.

    Attributes:
        stable: tag of the bundle in production from now on.
        candidate: tag of the bundle beside it; None at the end of a trial.
        mode: how it is tried; empty without one.
        split: its share of the traffic.
        gate: the gate's answer to it, where it was asked.
    """

    stable: str
    candidate: str | None = None
    mode: str = ""
    split: float = 0.0
    gate: dict[str, Any] | None = None

    def words(self) -> str:
        """What is so now."""
        if self.candidate is None:
            return f"{self.stable} is in production, and no candidate beside it."
        told = f"{self.candidate} is tried beside {self.stable} as {self.mode}"
        return f"{told}." if self.mode == "shadow" else f"{told} with {self.split:.4g} of traffic."


def change_trial(run: StageRun, config: ReleaseConfig, history: pl.DataFrame) -> str:
    """Begin, change or end a trial; what is so now, or why it stayed as it was.

    Args:
        run: of the product.
        config: what is asked for, already checked.
        history: the product's releases.

    Raises:
        DataError: what is asked for cannot be done now.
    """
    if history.is_empty():
        raise DataError(
            "Nothing is in production that a candidate could be tried beside. Release a bundle "
            "first: without candidate, mode, split and end."
        )
    newest = history.row(-1, named=True)
    if why := _why_stale(config, history, newest):
        return why
    make = ended if config.end else tried
    asked = make(run, config, newest, history["stable"].to_list())
    if asked == _now(newest):
        return f"Nothing to change: {asked.words()}"
    # Dropping a candidate must not need any bundle to be readable.
    new = asked.candidate or (asked.stable if config.end == "promote" else None)
    said = record(run, config, asked, takes_effect(run, new, history), history)
    return said + _who_widens(run, asked)


def begin_trial(
    run: StageRun,
    config: ReleaseConfig,
    bundle: str,
    effective: datetime,
    history: pl.DataFrame,
    gate: dict[str, Any],
) -> str:
    """Try a challenger that passed its gate as the product declares, instead of releasing it.

    Args:
        run: of the product.
        config: of the release, under a decision.
        bundle: the challenger's tag.
        effective: from when on in event time it may score.
        history: the product's releases; there is one.
        gate: the gate's answer to it.
    """
    newest, rollout = history.row(-1, named=True), run.product.declaration.rollout
    if why := _why_stale(config, history, newest):
        return why
    if newest["effective_from"] > effective:
        return (
            f"{bundle} stays a challenger: {newest['stable']} has been in production since "
            f"{newest['effective_from']:%Y-%m-%d %H:%M}, after {bundle} had been made."
        )
    if bundle in (newest["stable"], newest["candidate"]):
        return f"Nothing to change: {_now(newest).words()}"
    split = rollout.first_split(rollout.mode)
    asked = Asked(newest["stable"], bundle, rollout.mode, split, gate)
    return record(run, config, asked, effective, history)


def why_waits(
    run: StageRun, config: ReleaseConfig, bundle: str, history: pl.DataFrame
) -> str | None:
    """Why a decision's challenger waits for the trial of another bundle, of which people are told
    once; None where none runs.

    A trial that began, by whomever, comes to its end: otherwise one that retrains oftener than a
    canary takes would never see one through.
    """
    newest = history.row(-1, named=True)
    if newest["candidate"] in (None, bundle) or config.decision is None:
        return None
    if config.decision in history["decision_id"].to_list():
        return None
    direct = run.product.declaration.rollout.mode == "direct"
    words = (
        f"{bundle} passed its gate and waits: {_now(newest).words()} When that has ended, "
        f"materialize {run.product.name}/release with {'bundle' if direct else 'candidate'}: "
        f"{bundle}, who and why; or the next retraining brings another."
    )
    run.tools.notifier.notify(
        Alert(
            product=run.product.name,
            partition=run.partition,
            kind="approval",
            severity="info",
            title=f"{run.product.name}: a challenger waits for the end of a trial",
            words=words,
            evidence={"decision": config.decision, "bundle": bundle},
            key=f"waits/{config.decision}",
        )
    )
    return words


def ended(
    run: StageRun, config: ReleaseConfig, newest: dict[str, Any], released: list[str]
) -> Asked:
    """The entry that ends a trial.

    Raises:
        DataError: none runs, or what is to be promoted has not passed its gate.
    """
    candidate = newest["candidate"]
    if candidate is None:
        raise DataError(
            f"There is no candidate to {config.end}: {newest['stable']} is alone in production."
        )
    if config.end == "drop":
        return Asked(newest["stable"])
    # What callers got answers of was asked for its gate before; a shadow was not.
    shadow = newest["mode"] == "shadow"
    return Asked(candidate, gate=_gate(run, config, candidate, released) if shadow else None)


def tried(
    run: StageRun, config: ReleaseConfig, newest: dict[str, Any], released: list[str]
) -> Asked:
    """The entry that begins a trial, or changes the running one.

    Raises:
        DataError: there is no such bundle, it is in production already, or it has not passed its
            gate.
    """
    candidate = config.candidate or newest["candidate"]
    if candidate is None:
        raise DataError(
            f"candidate must be named: {newest['stable']} is alone in production, so there is no "
            "trial to change."
        )
    check_built(run, candidate, "candidate")
    if candidate == newest["stable"]:
        raise DataError(must_be("candidate", "another bundle than in production", candidate))
    running = _now(newest) if candidate == newest["candidate"] else None
    rollout = run.product.declaration.rollout
    declared = "ab" if rollout.mode == "direct" else rollout.mode
    mode = config.mode or (running.mode if running else declared)
    if mode == "shadow" and config.split:
        raise DataError(must_be("split of a shadow, whose answers nobody gets,", "0", config.split))
    same = running is not None and running.mode == mode
    usual = running.split if running is not None and same else rollout.first_split(mode)
    split = usual if config.split is None else config.split
    if mode == "shadow" or (running is not None and running.mode != "shadow"):
        return Asked(newest["stable"], candidate, mode, split)
    gate = _gate(run, config, candidate, released)
    return Asked(newest["stable"], candidate, mode, split, gate)


def record(
    run: StageRun,
    config: ReleaseConfig,
    asked: Asked,
    effective: datetime,
    history: pl.DataFrame,
) -> str:
    """Append the entry after those that it was decided by; what is so now.

    Raises:
        OutrunError: there are others by now.
    """
    newest = history.row(-1, named=True)
    told = [run.product.name, asked.stable, str(asked.candidate), asked.mode, str(asked.split)]
    overridden = config.override_gate and asked.gate is not None and not asked.gate.get("passed")
    run.tools.ledger.append(
        Entry(
            product=run.product.name,
            effective_from=effective,
            recorded_at=datetime.now(UTC),
            stable=asked.stable,
            candidate=asked.candidate,
            mode=cast(Mode, asked.mode),
            split=asked.split,
            decision_id=config.decision or digest("\n".join([*told, newest["decision_id"]])),
            cause=cause_of(run, config),
            who=config.who,
            why=f"{config.why} (gate overridden)" if overridden else config.why,
            gate=json.dumps(asked.gate, sort_keys=True) if asked.gate else "",
        ),
        after=history.height,
    )
    return asked.words()


def cause_of(run: StageRun, config: ReleaseConfig) -> str:
    """The cause of the recorded decision behind a release, in a word or two."""
    if config.decision is None:
        return "by hand"
    found = run.tools.decisions.find(run.product.name, config.decision)
    return str(found["cause"]) if found else "decision"


def _why_stale(config: ReleaseConfig, history: pl.DataFrame, newest: dict[str, Any]) -> str:
    """Why what was decided is not done (again); empty where it is still to be done."""
    since = f"{newest['who']}: {newest['why']}"
    if config.decision is not None and config.decision in history["decision_id"].to_list():
        if newest["decision_id"] == config.decision:
            return _now(newest).words()
        return f"Decision {config.decision} was carried out before; since then {since}"
    if config.expects is not None and config.expects != newest["release_id"]:
        return (
            f"Nothing was changed. It was decided on release {config.expects}; since then {since}"
        )
    return ""


def _who_widens(run: StageRun, asked: Asked) -> str:
    """What a canary needs to grow, where its sensor is off unless a person switches it on."""
    product = run.product
    if asked.mode != "canary" or product.declaration.rollout.mode != "direct":
        return ""
    return (
        f" Its share grows while the sensor {product.name}_canary is on. It is off until somebody "
        "switches it on under Automation, for rollout.mode in the YAML is direct."
    )


def _now(newest: dict[str, Any]) -> Asked:
    """What the newest entry says; a candidate from before there were modes has a fixed share."""
    if newest["candidate"] is None:
        return Asked(newest["stable"])
    mode = newest["mode"] or "ab"
    return Asked(newest["stable"], newest["candidate"], mode, newest["split"])


def _gate(run: StageRun, config: ReleaseConfig, bundle: str, released: list[str]) -> dict[str, Any]:
    return check_releasable(run, bundle, released, config.override_gate)
