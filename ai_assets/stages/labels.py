"""labels: the outcome of each request row, and when it became known.

A row of which the source knows no outcome gets the one that callers told the server. Conditions
neither wait for `feedback` nor follow it: a product that is not served has none, and outcomes that
come late are taken when both are made again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ai_assets.lifecycle.labels import completed, label_rows
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.data import of_the_labels
from ai_assets.stages.meanings import LABELS
from ai_assets.stages.served import last_of_each_row


def compute_labels(run: StageRun) -> Outcome:
    """Evaluate the label's SQL over the partition's cleaned request rows, and add what was told."""
    declared = run.product.declaration
    rows = run.lake.scan(
        run.name(f"cleaned/{declared.request}"), [run.partition] if run.partition else None
    )
    labels = label_rows(
        rows,
        declared.label.sql,
        run.product.request_table.time,
        declared.label.arrives_after,
        declared.classes,
        values=declared.label.task == "regression",
        counts=declared.label.learned == "count",
    )
    labels, from_callers = _with_told(run, labels)
    written = run.lake.replace(run.name("labels"), labels, run.partition)
    known = labels["label"].drop_nulls()
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(labels, written.rows, meanings=LABELS),
            "unlabelled": labels.height - known.len(),
            **from_callers,
            **_SUMMARIES[declared.label.task](known, declared),
        },
        {of_the_labels(run.product).name: _FINDINGS[declared.label.task](known, declared)},
    )


def _with_told(run: StageRun, labels: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The labels with the last outcome that callers told of each row, and how many there were."""
    name = run.name("feedback")
    if not run.lake.exists(name, run.partition):
        return labels, {}
    told = run.lake.scan(name, [run.partition] if run.partition else None)
    last = last_of_each_row(told.collect())
    if last.is_empty():
        return labels, {}
    found = completed(labels, last)
    return found.rows, {
        "told_by_callers": found.taken,
        "told_otherwise": found.contradicted,
        "told_of_no_row": found.strange,
    }


def both_classes(positives: int, labelled: int, positive: str) -> Finding:
    """Whether a model could learn, and be judged, from the partition alone."""
    words = f"{positives:,} of {labelled:,} labelled rows are '{positive}'."
    return Finding(0 < positives < labelled, words, warn=True)


def every_class(known: pl.Series, answers: Sequence[str]) -> Finding:
    """Whether each class has rows to learn from, and be judged by, in the partition alone."""
    there = set(known.unique().to_list())
    lacking = [word for number, word in enumerate(answers) if number not in there]
    words = f"{known.len():,} labelled rows of {len(answers) - len(lacking)} of {len(answers)} "
    words += f"classes; none is {', '.join(lacking[:10])}." if lacking else "classes."
    return Finding(not lacking, words, warn=True)


def more_than_one(known: pl.Series) -> Finding:
    """Whether the outcomes of a regression differ, so that there is something to learn."""
    different = known.n_unique()
    return Finding(
        different > 1,
        f"{known.len():,} labelled rows of {different:,} different values.",
        {"values": different},
        warn=True,
    )


def _positive_rate(known: pl.Series, declared: TabularDeclaration) -> dict[str, Any]:
    return shown.numbers({"positive_rate": int(known.sum()) / max(known.len(), 1)})


def _rows_of_classes(known: pl.Series, declared: TabularDeclaration) -> dict[str, Any]:
    counts = [int((known == number).sum()) for number in range(len(declared.answers))]
    table = pl.DataFrame({"class": declared.answers, "rows": counts})
    return {"classes": shown.table(table)}


def _spread(known: pl.Series, declared: TabularDeclaration) -> dict[str, Any]:
    outcomes = known.to_numpy()
    if not len(outcomes):
        return {}
    found = {"mean": outcomes.mean(), "standard_deviation": outcomes.std()}
    found |= {"smallest": outcomes.min(), "largest": outcomes.max()}
    return shown.numbers({name: float(value) for name, value in found.items()})


_SUMMARIES: dict[str, Callable[[pl.Series, TabularDeclaration], dict[str, Any]]] = {
    "binary": _positive_rate,
    "multiclass": _rows_of_classes,
    "regression": _spread,
}
_FINDINGS: dict[str, Callable[[pl.Series, TabularDeclaration], Finding]] = {
    "binary": lambda known, declared: both_classes(
        int(known.sum()), known.len(), declared.label.positive
    ),
    "multiclass": lambda known, declared: every_class(known, declared.answers),
    "regression": lambda known, declared: more_than_one(known),
}
