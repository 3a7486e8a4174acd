"""labels: the outcome of each request row, and when it became known."""

from ai_assets.lifecycle.labels import label_rows
from ai_assets.lifecycle.product import Product
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream

BOTH_CLASSES = Guard("both_classes", "The partition has rows of both classes.")


def labels_stage(product: Product) -> Stage:
    """The stage that computes labels."""
    declared = product.declaration
    return Stage(
        stage="labels",
        asset="labels",
        description=f"{declared.description} The outcome, once known: {declared.label.sql}",
        compute=compute_labels,
        kinds=frozenset({"duckdb", "deltalake"}),
        upstream=[Upstream(f"cleaned/{declared.request}")],
        guards=[BOTH_CLASSES],
        ranges=True,
        code=("labels.py",),
        settings=declared.label.model_dump_json(),
    )


def compute_labels(run: StageRun) -> Outcome:
    """Evaluate the label's SQL over the partition's cleaned request rows."""
    declared = run.product.declaration
    rows = run.lake.scan(
        run.name(f"cleaned/{declared.request}"), [run.partition] if run.partition else None
    )
    labels = label_rows(
        rows, declared.label.sql, run.product.request_table.time, declared.label.arrives_after
    )
    written = run.lake.replace(run.name("labels"), labels, run.partition)
    known = labels["label"].drop_nulls()
    positives = int(known.sum())
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(labels, written.rows),
            "unlabelled": labels.height - known.len(),
            **shown.numbers({"positive_rate": positives / max(known.len(), 1)}),
        },
        {BOTH_CLASSES.name: both_classes(positives, known.len(), declared.label.positive)},
    )


def both_classes(positives: int, labelled: int, positive: str) -> Finding:
    """Whether a model could learn, and be judged, from the partition alone."""
    words = f"{positives:,} of {labelled:,} labelled rows are '{positive}'."
    return Finding(0 < positives < labelled, words, warn=True)
