"""The chain from a release, or a decision, down to the data and the code that it stands on."""

import json
from typing import Any

from ai_assets.automation.why.records import Records, moment_of, plain, unknown
from ai_assets.lifecycle.errors import DataError

STEPS = ("widen", "promote", "roll_back")
BY_HAND = "No decision of the policy stands behind this release: it was made by hand."


def why_release(records: Records, at: str | None = None) -> dict[str, Any]:
    """Why a release is, or was, in production.

    Args:
        records: of the product.
        at: a moment of event time (ISO 8601, UTC unless it says otherwise), the id of a release,
            or that of the decision behind it. Without it, the newest release.

    Raises:
        DataError: nothing was in production then, or no release has that id.
    """
    releases = records.releases()
    entry = _release(records, releases, at)
    decision = next(
        (d for d in records.decided() if d["decision_id"] == entry["decision_id"]), None
    )
    place = releases.index(entry)
    before = releases[place - 1]["stable"] if place else None
    gate, asked_for = _gate_on_record(releases[: place + 1])
    candidate, trial = entry["candidate"], _trial(releases, place)
    stays = bool(trial) and before == entry["stable"]
    return {
        "asked": "release",
        "product": records.name,
        "release": {k: v for k, v in plain(entry).items() if k not in ("gate", "product")},
        "replaced": None if stays else before,
        "trial": trial,
        "decision": _told(decision) if decision else None,
        "note": None if decision else BY_HAND,
        **_judged(records, decision),
        "gate": gate,
        "gate_asked_for": asked_for,
        "bundle": records.bundle_facts(entry["stable"]),
        "candidate": records.bundle_facts(candidate) if candidate else None,
    }


def why_decision(records: Records, which: str) -> dict[str, Any]:
    """Why something was, or was not, done about a partition.

    Args:
        records: of the product.
        which: id of the decision, or the partition it is about (then the newest about it).

    Raises:
        DataError: no such decision was recorded.
    """
    decided = records.decided()
    about = [d for d in decided if which in (d["decision_id"], d["partition"])]
    if not about:
        known = [name for d in decided for name in (d["partition"], d["decision_id"]) if name]
        raise unknown("decision", which, list(dict.fromkeys(known)))
    decision = about[-1]
    releases = records.ledger.history(records.name).to_dicts()
    made = [r for r in releases if r["decision_id"] == decision["decision_id"]]
    place = releases.index(made[-1]) if made else None
    gate = _gate(records, decision, made)
    bundle = made[-1]["stable"] if made else (gate or {}).get("bundle")
    return {
        "asked": "decision",
        "product": records.name,
        "decision": _told(decision),
        "earlier": [d["decision_id"] for d in about[:-1]],
        **_judged(records, decision),
        "gate": gate,
        "observed": decision["evidence"].get("observed"),
        "trial": _trial(releases, place) if place is not None else [],
        "releases": [r["release_id"] for r in made],
        "note": _outcome(decision, gate, bool(made)),
        "bundle": records.bundle_facts(bundle) if bundle else None,
    }


def _release(records: Records, releases: list[dict[str, Any]], at: str | None) -> dict[str, Any]:
    if at is None:
        return releases[-1]
    for entry in reversed(releases):
        if at in (entry["decision_id"], entry["release_id"]):
            return entry
    moment = moment_of(at)
    if moment is None:
        known = [r[name] for r in releases for name in ("release_id", "decision_id")]
        raise unknown("moment, release or decision", at, known)
    before = [entry for entry in releases if entry["effective_from"] <= moment]
    if not before:
        first = releases[0]["effective_from"].isoformat()
        raise DataError(
            f"Nothing of {records.name} was in production at {moment.isoformat()}. The first "
            f"release is in production from {first} on."
        )
    return before[-1]


def _gate_on_record(releases: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, str | None]:
    """The gate's answer to the last release's bundle, and the release that it was asked for.

    Going back to a bundle asks no gate, nor does a candidate's next step: what counts is the answer
    from when it was released, or tried, before.
    """
    about = releases[-1]["candidate"] or releases[-1]["stable"]
    for entry in reversed(releases):
        gate = json.loads(entry["gate"]) if entry["gate"] else {}
        if gate.get("bundle") == about:
            return gate, entry["release_id"]
    return None, None


def _trial(releases: list[dict[str, Any]], place: int) -> list[dict[str, Any]]:
    """The steps of the trial that an entry belongs to, its end included; none where it is alone."""
    first = place
    candidate = releases[place]["candidate"]
    if candidate is None and place:
        candidate = releases[place - 1]["candidate"]
    if candidate is None:
        return []
    while first and releases[first - 1]["candidate"] == candidate:
        first -= 1
    last = first
    while last + 1 < len(releases) and releases[last]["candidate"] == candidate:
        last += 1
    names = ("recorded_at", "stable", "candidate", "mode", "split", "who", "why", "decision_id")
    return [{n: plain(step)[n] for n in names} for step in releases[first : last + 1]]


def _told(decision: dict[str, Any]) -> dict[str, Any]:
    told = {k: v for k, v in plain(decision).items() if k not in ("evidence", "product")}
    evidence = decision["evidence"]
    return told | {"rules": evidence.get("reasons", []), "run_id": evidence.get("run_id")}


def _judged(records: Records, decision: dict[str, Any] | None) -> dict[str, Any]:
    """The verdict that was decided on, and the page that shows the drift."""
    verdict = decision["evidence"].get("verdict") if decision else None
    if decision is None or verdict is None:
        return {"verdict": None, "drift_report": None}
    page = records.file_of("drift_report", decision["partition"], "report.html")
    return {"verdict": verdict, "drift_report": str(page) if page else None}


def _gate(
    records: Records, decision: dict[str, Any], made: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The gate's answer to the challenger that a decision asked for."""
    if decision["action"] != "retrain":
        return None
    if made and made[-1]["gate"]:
        return dict(json.loads(made[-1]["gate"]))
    file = records.file_of("gate", decision["partition"], "gate.json")
    return json.loads(file.read_text(encoding="utf-8")) if file else None


def _outcome(decision: dict[str, Any], gate: dict[str, Any] | None, released: bool) -> str:
    if decision["action"] in STEPS:
        return "It was carried out." if released else "It was not carried out."
    if decision["action"] != "retrain":
        return "Nothing was trained."
    if released:
        return "The challenger that it asked for was released."
    if gate is None:
        return "The retraining that it asked for has not come to its gate."
    if not gate["passed"]:
        return "The challenger did not pass its gate; what was in production stayed there."
    return "The challenger passed its gate, but was not released under this decision."
