"""A source whose columns are not as declared: nothing is read, so nothing else would judge it.

`raw` fails, as it must: what it read before stays. Whoever watches learns of it here, in the
daemon, in a replay and on the command line alike. What judges is imported where it must: it takes
longer to import than a small source to read.
"""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import MissingPartitionsError
from ai_assets.stages.binding import StageRun

if TYPE_CHECKING:
    from ai_assets.lifecycle.retraining.decide import Decision
    from ai_assets.lifecycle.verdict.evidence import Verdict

BREAKS = "breaks.json"


def tell_broken_source(run: StageRun, name: str, problems: list[str]) -> None:
    """Alert people; and where a release was to score the partition, judge it and record a decision.

    People are told first, and once until it could be read again: a process that dies in between
    tells them again, and the notifier sends an alert once.

    Args:
        run: the run of `raw` that is about to fail.
        name: the table.
        problems: what is wrong with its columns.
    """
    from ai_assets.lifecycle.retraining.decide import decide
    from ai_assets.resources.notify import alerts_on

    verdict = source_verdict(run, name, problems)
    decision = decide(verdict, run.product.declaration.retrain)
    watched = verdict.bundle and is_new(run, name)
    rest = (
        "What is in production stays." if watched else "What was read before, if anything, stays."
    )
    of = f" of {run.partition}" if run.partition else ""
    times, broken = breaks(run, name)
    times += not broken
    for alert in alerts_on(verdict, asdict(decision)):
        words = f"{alert.words} {name}{of} was not read. {rest}"
        key = f"{alert.key}/{times}"
        run.tools.notifier.notify(replace(alert, words=words, key=key))
    keep_breaks(run, name, times, broken=True)
    if watched:
        record(run, name, verdict, decision)


def tell_read_source(run: StageRun, name: str) -> None:
    """Remember that a source that was broken could be read: when it breaks again, that is news."""
    times, broken = breaks(run, name)
    if broken:
        keep_breaks(run, name, times, broken=False)


def breaks(run: StageRun, name: str) -> tuple[int, bool]:
    """How often the source of the partition broke, and whether it was broken when last read."""
    try:
        folder = run.lake.artifact(run.name(f"raw/{name}"), run.key_in(name))
    except MissingPartitionsError:
        return 0, False
    told = json.loads((folder / BREAKS).read_text(encoding="utf-8"))
    return told["times"], told["broken"]


def keep_breaks(run: StageRun, name: str, times: int, *, broken: bool) -> None:
    """Keep what `breaks` tells."""
    with TemporaryDirectory() as folder:
        text = json.dumps({"times": times, "broken": broken})
        Path(folder, BREAKS).write_text(text, encoding="utf-8")
        run.lake.save_artifact(run.name(f"raw/{name}"), run.key_in(name), Path(folder))


def source_verdict(run: StageRun, name: str, problems: list[str]) -> "Verdict":
    """Broken data, said of the release that was in production when the partition began."""
    from ai_assets.lifecycle.verdict.broken import Observed
    from ai_assets.lifecycle.verdict.decide import Signals, decide_cause

    moment = run.span.start if run.span else datetime.now(UTC)
    entry = run.tools.ledger.as_of(run.product.name, moment)
    declared = run.product.declaration
    seen = Observed(declared.tables[name], None, None, problems=problems)
    return decide_cause(
        run.product.name,
        run.partition,
        entry.stable if entry else "",
        Signals(tables={name: seen}, request=declared.request),
        spec=declared.causes,
        drift=declared.drift,
    )


def is_new(run: StageRun, name: str) -> bool:
    """Whether nothing was read of the partition before: a verdict on what was read stands."""
    cut = run.product.is_partitioned(name) == (run.product.partitions is not None)
    return cut and not run.lake.exists(run.name(f"raw/{name}"), run.key_in(name))


def record(run: StageRun, name: str, verdict: "Verdict", decision: "Decision") -> None:
    """Keep the verdict, for the page and for what is learned later, and the decision on it."""
    from ai_assets.stages.learnable import content_of, write_verdict

    run.tools.decisions.record(
        decision,
        {
            "verdict": json.loads(verdict.to_json()),
            "run_id": run.run_id,
            "decided_on_partition": run.partition,
        },
        who=f"raw/{name}",
        recorded_at=datetime.now(UTC),
    )
    with TemporaryDirectory() as folder:
        write_verdict(verdict, content_of(run), Path(folder))
        run.lake.save_artifact(run.name("verdict"), run.partition, Path(folder))
