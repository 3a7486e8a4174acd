"""backtest: what other policies would have answered: never, always rolling, always expanding."""

from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.evaluation.metrics import scored, values_of
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.training.whole import Learned, learn
from ai_assets.serving.scoring import Scorer
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, Stage, StageRun, Upstream
from ai_assets.stages.training_data import artifact, read_json

LINES = ("never", "rolling", "expanding")


def backtest_stage(product: Product) -> Stage:
    """The stage that replays the other policies on one partition."""
    rolling = rolling_window(product)
    return Stage(
        stage="backtest",
        asset="backtest",
        description="What other policies would have answered: the first release for ever, the "
        f"model of the {rolling} partitions before, one of all partitions before.",
        compute=replay_policies,
        kinds=frozenset({"python", "deltalake"}),
        upstream=[
            Upstream("features"),
            Upstream("labels"),
            Upstream("compressed_model", 1, until=1),
        ],
        code=("training", "learners"),
        settings=product.declaration.training.model_dump_json() + str(rolling),
    )


def rolling_window(product: Product) -> int:
    """Partitions that the policy `rolling` learns from."""
    declared = product.declaration
    return declared.backtest.rolling or declared.training.window


def replay_policies(run: StageRun) -> Outcome:
    """Score the partition's labelled rows by each policy's model as of the partition before."""
    rows = labelled_rows(run)
    before = previous(run)
    answers = {
        "never": first_release(run, rows),
        "rolling": of_newest(before, rows, rolling_window(run.product)),
        "expanding": of_newest(before, rows, None),
    }
    frame = rows.select("_row_id", "event_time", "label").with_columns(
        pl.Series(name, p) for name, p in answers.items()
    )
    written = run.lake.replace(run.name("backtest"), frame, run.partition)
    y = rows["label"].to_numpy()
    table = pl.DataFrame(
        [
            {"policy": name, **values_of(scored(y, p), ("log_loss", "roc_auc", "brier"))}
            for name, p in answers.items()
        ]
    )
    losses = dict(table.select("policy", "log_loss").iter_rows())
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(frame, written.rows),
            "policies": shown.table(table),
            **shown.numbers(losses, prefix="log_loss/"),
        },
    )


def previous(run: StageRun) -> StageRun:
    """The run's view of the partition before.

    Raises:
        DataError: the product has no partitions, or this is the first.
    """
    partitions = run.product.partitions
    if partitions is None or run.partition is None:
        raise DataError("A backtest needs partitions: it goes forward in time.")
    key = partitions.shift(run.partition, -1)
    if not partitions.contains(key):
        raise DataError(f"{run.partition} is the first partition: nothing could be learned before.")
    return run.at(key)


def labelled_rows(run: StageRun) -> pl.DataFrame:
    """Features of the partition with all labels that ever arrived."""
    return _joined(run, [str(run.partition)]).sort("event_time", "_row_id")


def _joined(run: StageRun, keys: list[str]) -> pl.DataFrame:
    labels = run.lake.scan(run.name("labels"), keys).filter(pl.col("label").is_not_null())
    features = run.lake.scan(run.name("features"), keys)
    return labels.join(features, on="_row_id", how="inner").collect()


def first_release(run: StageRun, rows: pl.DataFrame) -> np.ndarray:
    """Scores [n] of what was released first.

    Raises:
        DataError: nothing was ever released.
    """
    history = run.tools.ledger.history(run.product.name)
    if history.is_empty():
        raise DataError(f"Nothing of {run.product.name} was ever released: nothing to compare.")
    bundle = run.tools.bundles.load(history["stable"][0])
    return Scorer(bundle).score_features(rows).probability


def of_newest(before: StageRun, rows: pl.DataFrame, length: int | None) -> np.ndarray:
    """Scores [n] of the model of the newest `length` partitions, or of all up to `before`.

    Where those are the ones that the product's own model learned from, it is asked; otherwise its
    families learn anew, with its parameters.
    """
    there = before.lake.partitions(before.name("features"))
    known = sorted(key for key in there if key <= str(before.partition))
    keys = known[-length:] if length else known
    if keys == before.product.window(before.partition):
        return as_of(before, rows)
    return learned_from(before, keys).score(rows)


def as_of(before: StageRun, rows: pl.DataFrame) -> np.ndarray:
    """Scores [n] of the compressed model of the partition before, released or not."""
    folder = artifact(before, "compressed_model")
    encoding = Encoding.from_json(_text(artifact(before, "training_set") / "encoding.json"))
    session = open_session((folder / "model.onnx").read_bytes())
    calibration = Calibration.from_json(_text(folder / "calibration.json"))
    return calibration.apply(run_session(session, encoding.transform(rows)))[:, 0]


def learned_from(before: StageRun, keys: list[str]) -> Learned:
    """What the product's families learn from some partitions, of labels that had arrived."""
    declared = before.product.declaration
    assert before.span is not None
    rows = _joined(before, keys).filter(pl.col("known_at") <= before.span.end)
    before.say(f"learning from {rows.height:,} rows of {len(keys)} partitions")
    return learn(
        rows.sort("event_time", "_row_id"),
        read_json(artifact(before, "model"), "winner.json")["weights"],
        read_json(artifact(before, "tuning"), "params.json"),
        declared.training,
        declared.label.task,
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
