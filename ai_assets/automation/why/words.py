"""A chain of evidence as text for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ai_assets.resources.ledger import ALWAYS

_WIDEST = 60


def chain_text(chain: Mapping[str, Any]) -> str:
    """A chain from `why_release` or `why_decision`, a paragraph a link."""
    links = _release_first if chain["asked"] == "release" else _decision_first
    return "\n".join(links(chain)).rstrip() + "\n"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Aligned lines: a header and a line a row. Numbers with four significant digits."""
    if not rows:
        return []
    cells = [[cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    lines = [list(columns), *cells]
    return ["    " + "  ".join(_padded(line, widths)).rstrip() for line in lines]


def facts(pairs: Mapping[str, Any]) -> list[str]:
    """`name  value` lines, aligned; what is missing is left out."""
    there = {name: value for name, value in pairs.items() if value not in (None, "", [])}
    width = max(map(len, there), default=0)
    return [f"  {name:<{width}}  {cell(value, whole=True)}" for name, value in there.items()]


def since(release: Mapping[str, Any]) -> str | None:
    """From when on in event time a release counts; None of a product without partitions."""
    effective = str(release["effective_from"])
    return None if effective == ALWAYS.isoformat() else effective


def cell(value: Any, *, whole: bool = False) -> str:
    """A value in a few characters, or the whole of it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    text = str(value)
    return text if whole or len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _release_first(chain: Mapping[str, Any]) -> Iterator[str]:
    release = chain["release"]
    yield f"Release {release['release_id']} of {chain['product']}"
    yield from facts(
        {
            "in production": release["stable"],
            "from": since(release),
            "recorded": release["recorded_at"],
            "instead of": chain["replaced"],
            "beside it": _beside(release),
            "cause": release["cause"],
            "who": release["who"],
            "why": release["why"],
        }
    )
    yield ""
    yield from _trial(chain["trial"])
    if chain["decision"] is None:
        yield from (chain["note"], "")
    else:
        yield from _decision(chain["decision"])
        yield from _verdict(chain)
    yield from _gate(chain["gate"])
    if chain["gate_asked_for"] not in (None, release["release_id"]):
        yield from (f"The gate was asked for release {chain['gate_asked_for']} of it.", "")
    yield from _bundle(chain["bundle"])
    if chain["candidate"] is not None:
        yield from _bundle(chain["candidate"])


def _decision_first(chain: Mapping[str, Any]) -> Iterator[str]:
    yield from _decision(chain["decision"])
    yield from _observed(chain["observed"])
    yield from _verdict(chain)
    yield from _trial(chain["trial"])
    yield from _gate(chain["gate"], asked=chain["decision"]["action"] == "retrain")
    yield chain["note"]
    yield from facts({"releases": chain["releases"], "earlier decisions on it": chain["earlier"]})
    yield ""
    if chain["bundle"] is not None:
        yield from _bundle(chain["bundle"])


def _decision(decision: Mapping[str, Any]) -> Iterator[str]:
    yield f"Decision {decision['decision_id']}: {decision['action']}"
    yield from facts(
        {
            "partition": decision["partition"],
            "cause": decision["cause"],
            "severity": decision["severity"],
            "recorded": decision["recorded_at"],
            "who": decision["who"],
            "why": decision["why"],
            "run": decision["run_id"],
        }
    )
    for rule in decision["rules"]:
        yield f"    {'✓' if rule['allows'] else '✗'} {rule['rule']}: {rule['words']}"
    yield ""


def _beside(release: Mapping[str, Any]) -> str:
    if release["candidate"] is None:
        return ""
    share = "" if release["mode"] == "shadow" else f", {release['split']:.4g} of the traffic"
    return f"{release['candidate']}, tried as {release['mode'] or 'ab'}{share}"


def _trial(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The steps of a trial, each with who and why."""
    if not steps:
        return
    yield f"Trial of {next(s['candidate'] for s in steps if s['candidate'])}"
    rows = [
        {**step, "recorded": step["recorded_at"][:19], "mode": step["mode"] or "ended"}
        for step in steps
    ]
    yield from table(rows, ["recorded", "mode", "split", "stable", "who"])
    yield from (f"    {step['recorded_at'][:19]}: {step['why']}" for step in steps)
    yield ""


def _observed(observed: Mapping[str, Any] | None) -> Iterator[str]:
    """How both bundles had answered when a step was decided on."""
    if not observed:
        return
    rows = [{"bundle": name, **observed[name]} for name in ("stable", "candidate")]
    columns = ["bundle", "requests", "failed", "error_rate", "p99_ms"]
    yield from ("Observed during the step", *table(rows, columns))
    for name in ("estimated", "realised"):
        if found := observed.get(name):
            words = f"{cell(found['value'])} ({cell(found['low'])} to {cell(found['high'])})"
            yield f"    {name} log loss, candidate less stable: {words}"
    yield ""


def _verdict(chain: Mapping[str, Any]) -> Iterator[str]:
    verdict = chain["verdict"]
    if verdict is None:
        return
    yield f"Verdict on {verdict['partition'] or 'all rows'}: {verdict['cause']}"
    yield from facts(
        {
            "severity": verdict["severity"],
            "measured against": verdict["bundle"],
            "words": verdict["words"],
            "labels": "arrived" if verdict["labelled"] else "too few had arrived",
            "drift report": chain["drift_report"] or "none was drawn",
        }
    )
    if verdict["evidence"]:
        yield from table(verdict["evidence"], ["cause", "kind", "subject", "value", "limit"])
        yield from (f"    {item['words']}" for item in verdict["evidence"])
    yield ""


def _gate(gate: Mapping[str, Any] | None, *, asked: bool = True) -> Iterator[str]:
    # A release keeps the gate's answer as it was then: an early one says less.
    if gate is None:
        if asked:
            yield from ("Gate: its answer is not on record.", "")
        return
    yield f"Gate: {'passed' if gate['passed'] else 'not passed'}"
    yield from facts(
        {"bundle": gate["bundle"], "champion": gate.get("champion"), "words": gate["words"]}
    )
    if gate.get("limits"):
        yield from table(gate["limits"], ["limit", "value", "allowed", "passed"])
    if gate.get("comparison"):
        columns = ["rows", "count", "champion", "challenger", "difference", "low", "high"]
        yield from table(gate["comparison"], [*columns, "allowed", "passed"])
    yield from (f"    ✗ {broken}" for broken in gate.get("incompatible", []))
    yield ""


def _bundle(bundle: Mapping[str, Any]) -> Iterator[str]:
    yield f"Bundle {bundle['tag']}"
    if "problem" in bundle:
        yield from (f"  {bundle['problem']}", "")
        return
    yield from facts({"learned from": bundle["learned_from"], "path": bundle["path"]})
    for title in ("data_versions", "code_versions"):
        rows = [{"asset": k, "version": v} for k, v in bundle[title].items()]
        yield f"  {title.replace('_', ' ')}" + ("" if rows else ": not recorded in this bundle")
        yield from table(rows, ["asset", "version"])
    yield ""


def _padded(line: list[str], widths: list[int]) -> Iterator[str]:
    return (text.ljust(width) for text, width in zip(line, widths, strict=True))
