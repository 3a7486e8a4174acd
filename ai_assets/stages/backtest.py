"""backtest: what other policies would have answered: never, always rolling, always expanding."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.evaluation.metrics import scored_for, values_of
from ai_assets.lifecycle.fairness.groups import protected_of
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.scores import series_of, squeezed
from ai_assets.lifecycle.training.whole import Learned, learn, roles_of
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import COMPARED, rolling_window
from ai_assets.stages.evaluation import answers_as_declared, scores_of
from ai_assets.stages.features import features_of
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.meanings import BACKTEST
from ai_assets.stages.protected import not_compared, with_protected
from ai_assets.stages.training_data import artifact, in_order, read_json

LINES = ("never", "rolling", "expanding")
JUDGED = {
    "binary": ("log_loss", "roc_auc", "brier"),
    "multiclass": ("log_loss", "roc_auc", "brier"),
    "regression": ("rmse", "mae", "r2"),
}
"""What policies are judged by, by task; the first is their loss."""


def replay_policies(run: StageRun) -> Outcome:
    """Score the partition's labelled rows by each policy's model as of the partition before."""
    rows = labelled_rows(run)
    missing = nothing_to_compare(run, rows)
    answers = {} if missing else answers_by_policy(run, rows)
    if missing:
        run.say(missing)
    task = run.product.declaration.label.task
    frame = rows.clear() if missing else rows
    classes = run.product.declaration.classes
    nothing = np.empty((0, len(classes)) if classes else 0)
    frame = frame.select("_row_id", "event_time", "label").with_columns(
        series_of(name, answers.get(name, nothing)) for name in LINES
    )
    written = run.lake.replace(run.name("backtest"), frame, run.partition)
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(frame, written.rows, meanings=BACKTEST),
            **({"nothing_compared": missing} if missing else quality(rows, answers, JUDGED[task])),
        },
        {COMPARED.name: compared(missing, frame.height)},
    )


def nothing_to_compare(run: StageRun, rows: pl.DataFrame) -> str:
    """Why the policies cannot be asked about the labelled rows; empty where they can.

    That is no mistake: a group is materialized as a whole before anything was released, too.
    """
    key = before_key(run)
    if key is None:
        return f"{run.partition or 'This'} is the first partition: nothing could be learned before."
    first = first_bundle(run)
    if first is None:
        return f"Nothing was in production at the start of {run.partition}: no policy to compare."
    if not answers_as_declared(run.product, run.tools.bundles.load(first)):
        return f"{first}, released first, gives other answers: no policy to compare with."
    if key not in run.lake.artifacts(run.name("compressed_model")):
        return f"There is no model as of {key}: materialize its compressed_model to compare."
    return "" if rows.height else f"No label of {run.partition} arrived: nothing to compare by."


def compared(missing: str, rows: int) -> Finding:
    """Whether the policies were compared."""
    if missing:
        return Finding(False, missing, warn=True)
    return Finding(True, f"{', '.join(LINES)}: compared by {rows:,} rows.")


def answers_by_policy(run: StageRun, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """Scores [n] of the rows, of several classes [n, K], by each policy of `LINES`."""
    before = run.at(before_key(run))
    return {
        "never": first_release(run, rows),
        "rolling": of_newest(before, rows, rolling_window(run.product)),
        "expanding": of_newest(before, rows, None),
    }


def quality(
    rows: pl.DataFrame, answers: dict[str, np.ndarray], metrics: tuple[str, ...]
) -> dict[str, Any]:
    """How good each policy's answers were, as metadata; the first metric is their loss."""
    y, loss = rows["label"].to_numpy(), metrics[0]
    table = pl.DataFrame(
        [
            {"policy": name, **values_of(scored_for(loss, y, p), metrics)}
            for name, p in answers.items()
        ]
    )
    losses = dict(table.select("policy", loss).iter_rows())
    return {"policies": shown.table(table), **shown.numbers(losses, prefix=f"{loss}/")}


def before_key(run: StageRun) -> str | None:
    """The partition before; None where there is none."""
    partitions = run.product.partitions
    if partitions is None or run.partition is None:
        return None
    key = partitions.shift(run.partition, -1)
    return key if partitions.contains(key) else None


def labelled_rows(run: StageRun) -> pl.DataFrame:
    """Features of the partition with all labels that ever arrived.

    Also those that the query gives no more: what was released before may ask for them.
    """
    keys = [str(run.partition)]
    features = run.lake.scan(run.name("features"), keys)
    return in_order(_labels(run, keys, features), run.product.request_table)


def _labels(run: StageRun, keys: list[str], features: pl.LazyFrame) -> pl.DataFrame:
    """Labels of partitions, with the features of their rows."""
    labels = run.lake.scan(run.name("labels"), keys).filter(pl.col("label").is_not_null())
    return labels.join(features, on="_row_id", how="inner").collect()


def first_bundle(run: StageRun) -> str | None:
    """What was released first, if that was in production when the partition began.

    What was released as of the partition itself has learned from its rows.
    """
    assert run.span is not None
    history = run.tools.ledger.history(run.product.name)
    known = history.filter(pl.col("effective_from") <= run.span.start)
    return None if known.is_empty() else str(known["stable"][0])


def first_release(run: StageRun, rows: pl.DataFrame) -> np.ndarray:
    """Scores of what was released first."""
    tag = first_bundle(run)
    assert tag is not None
    return scores_of(run.tools.bundles.load(tag), rows)


def of_newest(before: StageRun, rows: pl.DataFrame, length: int | None) -> np.ndarray:
    """Scores of the model of the newest `length` partitions, or of all up to `before`.

    Where those are the ones that the product's own model learned from, it is asked; otherwise its
    families learn anew, with its parameters.
    """
    there = before.lake.partitions(before.name("features"))
    known = sorted(key for key in there if key <= str(before.partition))
    keys = known[-length:] if length else known
    if keys == learned_partitions(before):
        return as_of(before, rows)
    return learned_from(before, keys).score(rows)


def as_of(before: StageRun, rows: pl.DataFrame) -> np.ndarray:
    """Scores of the compressed model of the partition before, released or not."""
    folder = artifact(before, "compressed_model")
    encoding = Encoding.from_json(_text(artifact(before, "training_set") / "encoding.json"))
    session = open_session((folder / "model.onnx").read_bytes())
    calibration = Calibration.from_json(_text(folder / "calibration.json"))
    return squeezed(calibration.apply(run_session(session, encoding.transform(rows))))


def learned_from(before: StageRun, keys: list[str]) -> Learned:
    """What the product's families learn from some partitions, of labels that had arrived."""
    declared = before.product.declaration
    rows = rows_to_learn_from(before, keys)
    before.say(f"learning from {rows.height:,} rows of {len(keys)} partitions")
    if (protected := protected_of(rows, declared.fairness)) is not None:
        train = roles_of(rows, declared.training) == "train"
        y = rows["label"].to_numpy()[train]
        if alone := not_compared(before, protected.take(train), y):
            before.say(f"reductions has too few rows there to compare {', '.join(alone)}")
    return learn(
        rows,
        read_json(artifact(before, "model"), "winner.json")["weights"],
        read_json(artifact(before, "tuning"), "params.json"),
        declared.training,
        declared.label.learned,
        len(declared.answers),
        declared.fairness,
    )


def rows_to_learn_from(before: StageRun, keys: list[str]) -> pl.DataFrame:
    """Rows of some partitions with the labels that had arrived, in the order they are learned."""
    assert before.span is not None
    rows = _labels(before, keys, features_of(before, keys))
    rows = rows.filter(pl.col("known_at") <= before.span.end)
    return with_protected(before, in_order(rows, before.product.request_table), keys)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
