"""labels: the outcome of each request row, and when it became known.

A row of which the source knows no outcome gets the one that callers told the server. Conditions
neither wait for `feedback` nor follow it: a product that is not served has none, and outcomes that
come late are taken when both are made again.
"""

from typing import Any

import polars as pl

from ai_assets.lifecycle.labels import completed, label_rows
from ai_assets.lifecycle.product import Product
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream
from ai_assets.stages.served import last_of_each_row

BOTH_CLASSES = Guard("both_classes", "The partition has rows of both classes.")


def labels_stage(product: Product) -> Stage:
    """The stage that computes labels."""
    declared = product.declaration
    return Stage(
        stage="labels",
        asset="labels",
        description=f"{declared.description} The outcome, once known: {declared.label.sql}; "
        "where that is null, what callers told.",
        compute=compute_labels,
        kinds=frozenset({"duckdb", "deltalake"}),
        upstream=[Upstream(f"cleaned/{declared.request}"), Upstream("feedback")],
        guards=[BOTH_CLASSES],
        ranges=True,
        code=("labels.py",),
        settings=declared.label.model_dump_json(),
    )


def compute_labels(run: StageRun) -> Outcome:
    """Evaluate the label's SQL over the partition's cleaned request rows, and add what was told."""
    declared = run.product.declaration
    rows = run.lake.scan(
        run.name(f"cleaned/{declared.request}"), [run.partition] if run.partition else None
    )
    labels = label_rows(
        rows, declared.label.sql, run.product.request_table.time, declared.label.arrives_after
    )
    labels, from_callers = _with_told(run, labels)
    written = run.lake.replace(run.name("labels"), labels, run.partition)
    known = labels["label"].drop_nulls()
    positives = int(known.sum())
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(labels, written.rows),
            "unlabelled": labels.height - known.len(),
            **from_callers,
            **shown.numbers({"positive_rate": positives / max(known.len(), 1)}),
        },
        {BOTH_CLASSES.name: both_classes(positives, known.len(), declared.label.positive)},
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
