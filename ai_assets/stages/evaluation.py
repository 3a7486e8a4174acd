"""evaluation: how good what is served is, on test rows that served nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.evaluation import plots, plots_of_values
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate
from ai_assets.lifecycle.evaluation.graph_gradient import graph_gradient
from ai_assets.lifecycle.evaluation.metrics import RARE, get_metric
from ai_assets.lifecycle.evaluation.repeated import evaluate_repeats
from ai_assets.lifecycle.evaluation.values import scored_values
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.lifecycle.schema.scores import squeezed
from ai_assets.lifecycle.training.conformal import coverage_words
from ai_assets.lifecycle.training.crossing import FOLDS
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.scoring import Scorer
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.learning import CHEAPER, HOLDS, answers_of_items, better_than
from ai_assets.stages.evaluation_items import ItemFindings, ItemScorer, item_findings
from ai_assets.stages.fairness import FILE as FAIRNESS
from ai_assets.stages.fairness import FairnessFindings, fairness_findings
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.model import crossed_predictions
from ai_assets.stages.training_data import (
    TrainingData,
    artifact,
    load_training_data,
    read_json,
    save_folder,
    write_json,
)
from ai_assets.stages.training_set import shared_ids


def evaluate_served(run: StageRun) -> Outcome:
    """Score the test rows with the compressed graph and judge the answers."""
    data = load_training_data(run)
    decision = decision_of(run)
    y, p = scores_of_test_rows(run, data)
    evaluation = _evaluated(run, data, decision)
    of_items = _of_items(run, data, decision, p)
    fair = fairness_findings(run, data, decision, y, p)
    version = save_folder(
        run, "evaluation", lambda folder: _write(folder, evaluation, of_items, fair)
    )
    return Outcome(
        version,
        {
            "metrics": shown.table(metrics_told(evaluation)),
            **_tables(costs=evaluation.costs, slices=evaluation.slices, classes=evaluation.classes),
            **_pictures(run, y, p, decision),
            **of_items.shown,
            **fair.shown,
            **shown.numbers(evaluation.values()),
            "rows": evaluation.rows,
            "judged": _judged_words(run, evaluation),
        },
        {
            better_than(run.product).name: better_than_constant(run, evaluation),
            **(
                interval_not_judged(decision.interval)
                if data.crossed
                else interval_finding(run.product, y, p, decision.interval)
            ),
            **cost_finding(run.product, evaluation),
            **of_items.checks,
            **fair.checks,
        },
    )


def metrics_told(evaluation: Evaluation) -> pl.DataFrame:
    """A row a metric; with `words` only where one of them is undefined."""
    frame = evaluation.metrics_frame()
    return frame if frame["words"].count() else frame.drop("words")


def decision_of(run: StageRun) -> Decision:
    """How what is served answers."""
    file = artifact(run, "compressed_model") / "decision.json"
    return Decision.from_json(file.read_text(encoding="utf-8"))


def scores_of_test_rows(run: StageRun, data: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Labels [n] and calibrated scores of the test rows, by the graph that is judged.

    Scores are P(positive) [n], of several classes [n, K], or the values of a regression [n]. Of
    crossed rows they are those of one repeat, by models that did not learn from the row.
    """
    if data.crossed:
        return data.whole.y, crossed_scores(run)[0]
    test = data.split("test")
    return test.y, judged(run)(test.x)


def crossed_scores(run: StageRun) -> np.ndarray:
    """Calibrated scores [R, n] or [R, n, K] of all rows, where cross-validation judges."""
    folder = artifact(run, "compressed_model")
    calibration = Calibration.from_json((folder / "calibration.json").read_text(encoding="utf-8"))
    repeats = crossed_predictions(run, "model")
    return np.array([squeezed(calibration.apply(predicted)) for predicted in repeats])


def _evaluated(run: StageRun, data: TrainingData, decision: Decision) -> Evaluation:
    declared = run.product.declaration
    frame, seed = slice_columns(run, data), declared.training.seed
    if data.crossed:
        blocks = shared_ids(data.rows).to_numpy()
        return evaluate_repeats(
            frame,
            data.whole.y,
            crossed_scores(run),
            decision,
            declared.slices,
            seed=seed,
            words=_crossed_words(run, len(blocks)),
            blocks=blocks,
            counts=declared.label.learned == "count",
        )
    y, p = scores_of_test_rows(run, data)
    return evaluate(
        frame,
        y,
        p,
        decision.threshold,
        declared.slices,
        seed=seed,
        classes=decision.classes,
        values=decision.task == "regression",
        interval=decision.interval,
        costs=decision.costs,
        counts=declared.label.learned == "count",
    )


def _crossed_words(run: StageRun, rows: int) -> str:
    declared = run.product.declaration
    split, values = declared.training.split, declared.label.task == "regression"
    chosen = "Family, parameters and interval" if values else "Family, parameters and threshold"
    return (
        f"{rows:,} rows are too few to set some aside for a judgement (training.split.least_test "
        f"is {split.least_test}), so every figure comes from {split.repeats} × {FOLDS}-fold "
        "cross-validation: each row was answered by models that had not learned from it. Intervals "
        f"are 95 %, from drawing rows and repeats. {chosen} were chosen on these rows too, so the "
        "figures are somewhat too good. What is served learned from all rows and is itself not "
        "judged: outcomes that arrive will do that."
    )


def _judged_words(run: StageRun, evaluation: Evaluation) -> str:
    if evaluation.judged:
        return evaluation.judged
    if run.product.declaration.training.refit == "full":
        return "the twin of the served model that did not see the test rows"
    return "what is served"


def judged(run: StageRun) -> Callable[[np.ndarray], np.ndarray]:
    """The graph that is judged: from rows of the matrix [n, F] to calibrated scores."""
    folder = artifact(run, "compressed_model")
    session = open_session((folder / "judged.onnx").read_bytes())
    calibration = Calibration.from_json((folder / "calibration.json").read_text())
    return lambda x: squeezed(calibration.apply(run_session(session, x)))


def scores_of(bundle: Bundle, features: pl.DataFrame) -> np.ndarray:
    """Calibrated scores of rows of features, P(positive) [n] or of several classes [n, K]."""
    return squeezed(Scorer(bundle).probabilities(bundle.encoding.transform(features)))


def answers_as_declared(product: Product, bundle: Bundle) -> bool:
    """Whether a bundle's scores are of what the product declares now, number by number."""
    declared = product.declaration
    if bundle.decision.task != declared.label.task:
        return False
    return declared.label.task == "binary" or bundle.decision.classes == declared.answers


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
    """Whether the model knows more than how common the classes are."""
    base, loss = evaluation.base_rate_log_loss, evaluation.values().get("log_loss", float("inf"))
    positives = evaluation.positives
    always = "the classes' shares" if positives is None else f"{positives / evaluation.rows:.1%}"
    words = f"log loss {loss:.4f}; always answering {always} would have {base:.4f}"
    return Finding(loss < base, words, {"log_loss": loss, "base_rate_log_loss": base})


def better_than_mean(evaluation: Evaluation, metric: str) -> Finding:
    """Whether a regression knows more than its outcomes' mean (RMSE) or median (MAE)."""
    base, error = evaluation.constant[metric], evaluation.values()[metric]
    title, answer = get_metric(metric).title, _CONSTANTS[metric]
    words = f"{title} {error:.4g}; always answering {answer} would have {base:.4g}"
    told = {metric: error, f"constant_{metric}": base}
    return Finding(error < base, words, told)


def interval_finding(
    product: Product, y: np.ndarray, p: np.ndarray, interval: Interval | None
) -> dict[str, Finding]:
    """Whether test outcomes lie in their intervals as often as declared, where that is."""
    if product.declaration.label.interval is None or interval is None:
        return {}
    inside = int(scored_values(y, p, interval).inside.sum())
    passed, words = coverage_words(inside, len(y), interval)
    told = {"coverage": inside / len(y), "declared": interval.coverage}
    return {HOLDS.name: Finding(passed, words, told)}


def interval_not_judged(interval: Interval | None) -> dict[str, Finding]:
    """Where no rows are set aside, nothing says yet whether the interval keeps its promise."""
    if interval is None:
        return {}
    words = (
        f"Not judged: {interval}, which are all there are. The performance of partitions or rows "
        "to come will tell."
    )
    return {HOLDS.name: Finding(False, words, warn=True)}


def cost_finding(product: Product, evaluation: Evaluation) -> dict[str, Finding]:
    """Whether answers cost less than always giving the cheapest one, where costs are declared."""
    if product.declaration.training.costs is None or not evaluation.costs.height:
        return {}
    served, *always = evaluation.costs.to_dicts()
    cheapest = min(always, key=lambda row: row["cost"])
    words = (
        f"an answer costs {served['cost']:.4g} ({served['low']:.4g} to {served['high']:.4g}), "
        f"{cheapest['answered']} {cheapest['cost']:.4g} ({cheapest['low']:.4g} to "
        f"{cheapest['high']:.4g})"
    )
    told = {row["answered"]: row["cost"] for row in (served, *always)}
    return {CHEAPER.name: Finding(served["cost"] < cheapest["cost"], words, told)}


def better_than_constant(run: StageRun, evaluation: Evaluation) -> Finding:
    """Whether the model is better than one and the same answer to everything."""
    declared = run.product.declaration
    if declared.label.task == "regression":
        return better_than_mean(evaluation, declared.training.metric_for(declared.label.learned))
    return better_than_base_rate(evaluation)


def _of_items(
    run: StageRun, data: TrainingData, decision: Decision, scores: np.ndarray
) -> ItemFindings:
    """What is found of a product whose model reads an item as a whole."""
    declared = answers_of_items(run.product)
    if declared is None:
        return ItemFindings()
    graph = (artifact(run, "compressed_model") / "judged.onnx").read_bytes()
    slope = graph_gradient(graph) if declared.kind == "image" else None
    scorer = ItemScorer(judged(run), data, decision, declared.item, slope)
    return item_findings(run, scorer, declared, decision, scores)


def _tables(**frames: pl.DataFrame) -> dict[str, Any]:
    """Those that have rows: a product need not declare slices, and not every task has classes."""
    return {name: shown.table(frame) for name, frame in frames.items() if frame.height}


def _pictures(run: StageRun, y: np.ndarray, p: np.ndarray, decision: Decision) -> dict[str, Any]:
    importances = read_json(artifact(run, "model"), "importances.json")
    pictures = _DRAWN[decision.task](y, p, decision)
    pictures["importances"] = plots.importances(importances)
    return {
        name: shown.markdown(plots.as_markdown_image(png, name)) for name, png in pictures.items()
    }


def _of_two(y: np.ndarray, p: np.ndarray, decision: Decision) -> dict[str, bytes]:
    curves = {"roc": plots.roc(y, p), "precision_recall": plots.pr(y, p)}
    if y.mean() < RARE:
        curves = dict(reversed(curves.items()))
    return {
        **curves,
        "calibration": plots.calibration(y, p),
        "confusion": plots.confusion(y, p, decision.threshold, decision.classes),
    }


def _of_several(y: np.ndarray, p: np.ndarray, decision: Decision) -> dict[str, bytes]:
    return {
        "calibration": plots.confidence(y, p),
        "confusion": plots.confusion_of_classes(y, p, decision.classes, decision.costs),
    }


def _of_values(y: np.ndarray, p: np.ndarray, decision: Decision) -> dict[str, bytes]:
    return {
        "predicted": plots_of_values.predicted(y, p, decision.interval),
        "residuals": plots_of_values.residuals(y, p, decision.interval),
    }


_DRAWN: dict[str, Callable[[np.ndarray, np.ndarray, Decision], dict[str, bytes]]] = {
    "binary": _of_two,
    "multiclass": _of_several,
    "regression": _of_values,
}
_CONSTANTS = {"rmse": "the mean", "poisson_deviance": "the mean", "mae": "the median"}


def _write(
    folder: Path, evaluation: Evaluation, of_items: ItemFindings, fair: FairnessFindings
) -> None:
    (folder / "evaluation.json").write_text(evaluation.to_json(), encoding="utf-8")
    if of_items.card:
        write_json(folder, "items.json", of_items.card)
    if fair.content is not None:
        write_json(folder, FAIRNESS, fair.content)
