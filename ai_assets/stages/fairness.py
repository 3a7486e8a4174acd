"""How the served model answers groups of people, and what a mitigation changed about that."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.bootstrap import paired_difference
from ai_assets.lifecycle.evaluation.metrics import get_metric, metric_value
from ai_assets.lifecycle.evaluation.plots import as_markdown_image
from ai_assets.lifecycle.fairness import plot
from ai_assets.lifecycle.fairness.groups import group_words
from ai_assets.lifecycle.fairness.judge import Answers, Judged, compare_answers, judge_groups
from ai_assets.lifecycle.fairness.words import (
    figures,
    is_fair,
    of_mitigation,
    section,
    shown_groups,
)
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.scores import squeezed
from ai_assets.lifecycle.training.blending import pool_of
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.crossing import cross_fit, crossed_folds
from ai_assets.lifecycle.training.fitting import fit_together, learnable
from ai_assets.lifecycle.training.threshold import choose_threshold
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, StageRun
from ai_assets.stages.declared.learning import FAIR
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.model import crossed_predictions, load_models
from ai_assets.stages.protected import not_compared, protected_columns
from ai_assets.stages.training_data import TrainingData, artifact, read_json
from ai_assets.stages.training_set import shared_ids
from ai_assets.stages.tuning import learned_in_folds

FILE = "fairness.json"
RANKING = "roc_auc"


@dataclass(frozen=True)
class FairnessFindings:
    """What is shown in the UI, what the check says, and what gate and model card read."""

    shown: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Finding] = field(default_factory=dict)
    content: dict[str, Any] | None = None


def fairness_findings(
    run: StageRun, data: TrainingData, decision: Decision, y: np.ndarray, p: np.ndarray
) -> FairnessFindings:
    """Judge the served scores P(positive) [n] of the test rows by groups, where that is declared.

    Under a mitigation the winner's families learn once more without it, from the same rows.
    """
    spec = run.product.declaration.fairness
    if spec is None:
        return FairnessFindings()
    seed = run.product.declaration.training.seed
    frame = protected_columns(run, data.frame("test"), learned_partitions(run))
    judged = judge_groups(frame, Answers.of(y, p, decision.threshold), spec, seed=seed)
    passed, words = is_fair(judged, spec)
    groups, differences = shown_groups(judged), figures(judged)
    told = {
        "fairness": shown.table(groups),
        "groups": shown.markdown(as_markdown_image(plot.groups(judged), "groups of people")),
        **shown.numbers({k: v for k, v in differences.items() if v is not None}, "difference_"),
    }
    card = section("Groups of people", words, groups)
    if spec.mitigation != "none":
        changes, left = measured_mitigation(run, data, frame), left_alone(run, data)
        said = of_mitigation(spec, changes, left)
        told |= {"mitigation": shown.table(changes), "mitigation_in_words": said}
        told["training_weights"] = shown.table(training_weights(run, data))
        card |= section(f"What {spec.mitigation} changes", said, changes)
    check = Finding(passed, words, _told(judged))
    content = {"metric": spec.metric, "differences": differences, "card": card}
    return FairnessFindings(told, {FAIR.name: check}, content)


def measured_mitigation(run: StageRun, data: TrainingData, frame: pl.DataFrame) -> pl.DataFrame:
    """The model with its mitigation against its twin without: differences, and what they cost.

    The cost is told in the main metric and in ROC-AUC, which no calibration makes good.

    Both as the families gave them, before compression, so that nothing else lies between them.

    Returns:
        `measure`, `with`, `without`, `change` and its interval `low` to `high`.
    """
    declared = run.product.declaration
    spec, training = declared.fairness, declared.training
    assert spec is not None, "only of products that declare it"
    run.say(f"learning once more without {spec.mitigation}, to measure it")
    if data.crossed:
        ours = _cut(run, data.whole.y, crossed_predictions(run, "model")[0])
        other = _cut(run, data.whole.y, _crossed_without(run, data))
    else:
        ours, other = (
            _answers(run, data, model) for model in (load_models(run)[0], _without(run, data))
        )
    compared = compare_answers(frame, ours, other, spec, seed=training.seed)
    criterion = spec.metric.replace("_", " ")
    measure = pl.format("largest difference of {}, {}", "column", pl.lit(criterion))
    rows = compared.select(measure.alias("measure"), pl.exclude("column"))
    metrics = dict.fromkeys((training.metric_for(declared.label.task), RANKING))
    prices = [_price(name, ours, other, training.seed) for name in metrics]
    return pl.concat([rows, pl.DataFrame(prices, schema=rows.schema, orient="row")])


def _price(metric: str, ours: Answers, other: Answers, seed: int) -> list[str | float | None]:
    change = paired_difference(ours.y, ours.p, other.p, metric, seed=seed)
    values = [metric_value(metric, answers.y, answers.p) for answers in (ours, other)]
    return [get_metric(metric).title, *values, change.value, change.low, change.high]


def training_weights(run: StageRun, data: TrainingData) -> pl.DataFrame:
    """What rows to train on counted for under the mitigation, by groups and label.

    Returns:
        The protected columns, `label`, the label that such rows `teach`, `rows`, and the `weight`
        of each, of which all rows' mean is 1. Where families of a blend learn from different
        weights, for reductions ask what their features tell, `families` says whose they are.
    """
    declared, train = run.product.declaration, data.split("train")
    training, task = declared.training, declared.label.learned
    assert declared.fairness is not None, "under a mitigation"
    told = protected_columns(run, data.frame("train"), learned_partitions(run))
    words = told.select(group_words(told[name]) for name in declared.fairness.columns)
    searched = declared.fairness.mitigation == "reductions"
    alike: dict[tuple[str, ...], list[str]] = {}
    for family in read_json(artifact(run, "model"), "winner.json")["weights"]:
        ignored = training.ignored_by(family) if searched else ()
        alike.setdefault(tuple(sorted(ignored)), []).append(family)
    tables = []
    for families in alike.values():
        taught = learnable(train, families[0], training, task)
        assert taught.weight is not None, "under a mitigation"
        labels = [
            pl.Series(name, [declared.answers[int(label)] for label in y], dtype=pl.String)
            for name, y in (("label", train.y), ("teach", taught.y))
        ]
        cells = words.with_columns(*labels, pl.Series("weight", taught.weight))
        by = [*declared.fairness.columns, "label", "teach"]
        counted = cells.group_by(by).agg(pl.len().alias("rows"), pl.col("weight").mean().round(3))
        whose = [pl.lit(", ".join(families)).alias("families")] if len(alike) > 1 else []
        tables.append(counted.sort(by).select(*whose, pl.all()))
    return pl.concat(tables)


def left_alone(run: StageRun, data: TrainingData) -> dict[str, str]:
    """What `reductions` could not compare for too few rows, by the fits that lacked them: in how
    many of each kind."""
    training, task = run.product.declaration.training, run.product.declaration.label.learned
    protected, y = data.whole.protected, data.whole.y
    if protected is None or protected.spec.mitigation != "reductions":
        return {}
    fits = {
        "training": [np.flatnonzero(data.mask("train"))],
        "folds of tuning": learned_in_folds(run, data),
    }
    if data.crossed:
        ids, repeats = shared_ids(data.rows).to_numpy(), range(training.split.repeats)
        fits["folds of the cross-validation"] = [
            learned for repeat in repeats for learned, _, _ in crossed_folds(y, ids, repeat, task)
        ]
    found = {}
    for kind, folds in fits.items():
        lacking = Counter(
            what for rows in folds for what in not_compared(run, protected.take(rows), y[rows])
        )
        if lacking:
            words = (f"{what} in {count} of {len(folds)}" for what, count in lacking.items())
            found[kind] = ", ".join(words)
    return found


def _without(run: StageRun, data: TrainingData) -> Model:
    """The winner's families with the same parameters, learned from rows as they are."""
    declared = run.product.declaration
    params = read_json(artifact(run, "tuning"), "params.json")
    weights = read_json(artifact(run, "model"), "winner.json")["weights"]
    train, validation = (_as_they_are(data.split(name)) for name in ("train", "validation"))
    training, task = declared.training, declared.label.task
    return fit_together(weights, train, validation, params, training=training, task=task)


def _crossed_without(run: StageRun, data: TrainingData) -> np.ndarray:
    """What such models say, [n, 1], of rows that they did not learn from: folds as the winner's."""
    declared = run.product.declaration
    once = declared.training.split.model_copy(update={"repeats": 1})
    training = declared.training.model_copy(update={"split": once})
    params = read_json(artifact(run, "tuning"), "params.json")
    weights = read_json(artifact(run, "model"), "winner.json")["weights"]
    rows, ids, task = (
        _as_they_are(data.whole),
        shared_ids(data.rows).to_numpy(),
        declared.label.task,
    )
    members = {
        name: cross_fit(name, rows, ids, params[name], training=training, task=task).predicted[0]
        for name in weights
    }
    return pool_of(members, weights, task)


def _cut(run: StageRun, y: np.ndarray, scores: np.ndarray) -> Answers:
    """Answers by scores [n, 1] of held-out rows, calibrated and cut on the same rows."""
    declared = run.product.declaration
    p = squeezed(fit_calibration(declared.training.calibration, scores, y).apply(scores))
    return Answers.of(y, p, choose_threshold(y, p, declared.costs).value)


def _as_they_are(data: Dataset) -> Dataset:
    return replace(data, protected=None)


def _answers(run: StageRun, data: TrainingData, model: Model) -> Answers:
    """The model's answers to the test rows, calibrated and cut on validation rows."""
    validation, test = data.split("validation"), data.split("test")
    scores = model.predict(validation.x)
    declared = run.product.declaration
    calibration = fit_calibration(declared.training.calibration, scores, validation.y)
    threshold = choose_threshold(validation.y, squeezed(calibration.apply(scores)), declared.costs)
    p = squeezed(calibration.apply(model.predict(test.x)))
    return Answers.of(test.y, p, threshold.value)


def _told(judged: Judged) -> dict[str, float]:
    return {k: v for k, v in figures(judged).items() if v is not None}
