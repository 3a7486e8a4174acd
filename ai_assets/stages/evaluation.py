"""evaluation: how good what is served is, on test rows that served nothing else."""

from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.training_data import (
    TrainingData,
    artifact,
    load_training_data,
    read_json,
    save_folder,
)

BETTER_THAN_BASE_RATE = Guard(
    "better_than_the_base_rate",
    "The log loss on test rows is below that of always answering the share of positives.",
)


def evaluation_stage(product: Product) -> Stage:
    """The stage that judges the compressed model on test rows."""
    return Stage(
        stage="evaluation",
        asset="evaluation",
        description="Metrics with bootstrap intervals, slices and plots of what is served, on test "
        "rows.",
        compute=evaluate_served,
        kinds=frozenset({"python", "mlflow"}),
        upstream=[Upstream("compressed_model"), Upstream("model"), Upstream("training_set")],
        guards=[BETTER_THAN_BASE_RATE],
        code=("evaluation",),
        settings=",".join(product.declaration.slices),
    )


def evaluate_served(run: StageRun) -> Outcome:
    """Score the test rows with the compressed graph and judge the answers."""
    data = load_training_data(run)
    decision = Decision.from_json((artifact(run, "compressed_model") / "decision.json").read_text())
    y, p = scores_of_test_rows(run, data)
    evaluation = evaluate(
        slice_columns(run, data),
        y,
        p,
        decision.threshold,
        run.product.declaration.slices,
        seed=run.product.declaration.training.seed,
    )
    version = save_folder(
        run,
        "evaluation",
        lambda folder: _write(folder / "evaluation.json", evaluation),
    )
    refit = run.product.declaration.training.refit
    return Outcome(
        version,
        {
            "metrics": shown.table(evaluation.metrics_frame()),
            "slices": shown.table(evaluation.slices),
            **_pictures(run, y, p, decision),
            **shown.numbers(evaluation.values()),
            "rows": evaluation.rows,
            "judged": "the twin of the served model that did not see the test rows"
            if refit == "full"
            else "what is served",
        },
        {BETTER_THAN_BASE_RATE.name: better_than_base_rate(evaluation)},
    )


def scores_of_test_rows(run: StageRun, data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Labels and calibrated scores of the test rows, both [n], by the graph that is judged."""
    test = data.split("test")
    folder = artifact(run, "compressed_model")
    session = open_session((folder / "judged.onnx").read_bytes())
    calibration = Calibration.from_json((folder / "calibration.json").read_text())
    return test.y, calibration.apply(run_session(session, test.x))[:, 0]


def slice_columns(run: StageRun, data: TrainingData) -> pl.DataFrame:
    """The declared slice columns of the test rows, from the request table."""
    slices = run.product.declaration.slices
    request = run.lake.scan(
        run.name(f"cleaned/{run.product.declaration.request}"), learned_partitions(run)
    )
    columns = request.select("_row_id", *slices).collect()
    return (
        data.frame("test").select("_row_id").join(columns, on="_row_id", how="left").drop("_row_id")
    )


def better_than_base_rate(evaluation: Evaluation) -> Finding:
    """Whether the model knows more than the share of positives."""
    share = evaluation.positives / evaluation.rows
    base = -(share * np.log(share) + (1 - share) * np.log1p(-share)) if 0 < share < 1 else 0.0
    loss = evaluation.values().get("log_loss", float("inf"))
    words = f"log loss {loss:.4f}; always answering {share:.1%} would have {base:.4f}"
    return Finding(bool(loss < base), words, {"log_loss": loss, "base_rate_log_loss": float(base)})


def _pictures(run: StageRun, y: np.ndarray, p: np.ndarray, decision: Decision) -> dict[str, Any]:
    importances = read_json(artifact(run, "model"), "importances.json")
    pictures = {
        "roc": plots.roc(y, p),
        "precision_recall": plots.pr(y, p),
        "calibration": plots.calibration(y, p),
        "confusion": plots.confusion(y, p, decision.threshold, decision.classes),
        "importances": plots.importances(importances),
    }
    return {
        name: shown.markdown(plots.as_markdown_image(png, name)) for name, png in pictures.items()
    }


def _write(path: Any, evaluation: Evaluation) -> None:
    path.write_text(evaluation.to_json(), encoding="utf-8")
