"""model/<family>: each family fitted; model: the winner of the competition."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.learners.base import Model, read_arrays, write_arrays
from ai_assets.lifecycle.training.blending import pool_of
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.compete import Competition, compete
from ai_assets.lifecycle.training.crossing import FOLDS, Crossed, cross_fit
from ai_assets.lifecycle.training.fitting import (
    fit_family_again,
    fit_model,
    load_model,
    refit_model,
    together,
)
from ai_assets.lifecycle.training.metrics import metric_value
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, StageRun
from ai_assets.stages.training_data import (
    TrainingData,
    artifact,
    load_training_data,
    read_json,
    run_tags,
    save_folder,
    write_json,
)
from ai_assets.stages.training_set import shared_ids
from ai_assets.stages.tuning import HELD_OUT

CROSSED_FILE = "crossed.npz"
_STEPS_BETWEEN_WORDS = 100
_SECONDS_BETWEEN_WORDS = 5


def fit_family(run: StageRun, family: str) -> Outcome:
    """Fit one family, calibrate it on validation rows and keep both."""
    data = load_training_data(run)
    declared = run.product.declaration
    training, task = declared.training, declared.label.learned
    params = read_json(artifact(run, "tuning"), "params.json")[family]
    name = f"model/{family}/{run.partition or 'all'}"
    tags = run_tags(run, f"model/{family}", data)
    with run.tools.tracker.run(run.name("model").experiment, name, tags) as tracked:
        told = time.monotonic()

        def say(step: int, value: float) -> None:
            nonlocal told
            slow = time.monotonic() - told > _SECONDS_BETWEEN_WORDS
            if slow or step % _STEPS_BETWEEN_WORDS == 0:
                told = time.monotonic()
                run.say(f"{family}: step {step}, loss on validation {value:.5f}")

        if data.crossed:
            model, y, scores, crossed = _fit_crossed(run, data, family, params)
        else:
            validation, crossed = data.split("validation"), None
            model = fit_model(
                family,
                data.split("train"),
                validation,
                params,
                training=training,
                task=task,
                on_step=say,
                checkpoint=run.lake.unfinished(run.name(f"model/{family}"), run.partition),
            )
            y, scores = validation.y, model.predict(validation.x)
        # Families compete as they would be served: calibrated.
        calibrated = fit_calibration(training.calibration, scores, y).apply(scores)
        metric = training.metric_for(task)
        values = {metric: metric_value(metric, task, y, calibrated)}
        tracked.log_params({"family": family, **params})
        tracked.log_curve(model.curve)
        tracked.log_metrics({f"validation_{k}": v for k, v in values.items()})
    version = save_folder(run, f"model/{family}", partial(_write_family, model, crossed))
    return Outcome(
        version,
        {
            **shown.numbers(values, prefix="validation_"),
            "iterations": model.iterations,
            "parameters": shown.table(_parameters(params)),
            "curve": _image(plots.learning_curve({family: model.curve}), "learning curve"),
            "importances": _image(plots.importances(model.importances()), "importances"),
            "mlflow_run": tracked.run_id,
        },
    )


def _fit_crossed(
    run: StageRun, data: TrainingData, family: str, params: dict[str, Any]
) -> tuple[Model, np.ndarray, np.ndarray, Crossed]:
    """The family on all rows, and outcomes and predictions of all repeats by its cross-fits."""
    training, task = run.product.declaration.training, run.product.declaration.label.learned

    def say(done: int, fits: int) -> None:
        if done % FOLDS == 0:
            run.say(f"{family}: {done} of {fits} cross-fits")

    ids = shared_ids(data.rows).to_numpy()
    crossed = cross_fit(family, data.whole, ids, params, training=training, task=task, on_fold=say)
    model = fit_family_again(
        family, data.whole, params, crossed.iterations, training=training, task=task
    )
    repeats, _, outputs = crossed.predicted.shape
    y = np.tile(data.whole.y, repeats)
    return model, y, crossed.predicted.reshape(-1, outputs), crossed


def _write_family(model: Model, crossed: Crossed | None, folder: Path) -> None:
    model.save(folder)
    if crossed is not None:
        write_arrays(folder / CROSSED_FILE, {"predicted": crossed.predicted})


def choose_model(run: StageRun) -> Outcome:
    """Take what does best on the rows that tuning's folds held out; refit it where declared.

    Those rows reach further ahead than validation, which has also said when to stop the fits.
    """
    data = load_training_data(run)
    training, task = run.product.declaration.training, run.product.declaration.label.learned
    held_out, blocks = _held_out(run, data)
    result = compete(
        held_out.pop("y"),
        held_out,
        metric=training.metric_for(task),
        task=task,
        seed=training.seed,
        calibration=training.calibration,
        blend=training.blend,
        blocks=blocks,
    )
    run.say(result.why)
    judged = _winner(run, result)
    served = _refit(run, data, judged)
    crossed = crossed_winner(run, result) if data.crossed else None
    version = save_folder(run, "model", partial(_write_winner, judged, served, result, crossed))
    return Outcome(
        version,
        {
            "winner": result.winner,
            "weights": ", ".join(f"{name} {share:.2f}" for name, share in result.weights.items()),
            "why": result.why,
            "families": shown.table(result.table),
            "refit": _refit_words("crossed" if data.crossed else training.refit),
            "importances": _image(plots.importances(served.importances()), "importances"),
        },
    )


def _held_out(run: StageRun, data: TrainingData) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Outcomes, as `y`, and each family's predictions of rows that it did not learn from, with the
    row (or group) that each is of where rows were judged several times."""
    if not data.crossed:
        return read_arrays(artifact(run, "tuning") / HELD_OUT), None
    families = run.product.declaration.training.families
    predicted = {name: crossed_predictions(run, f"model/{name}") for name in families}
    repeats = len(predicted[families[0]])
    flat = {name: p.reshape(-1, p.shape[2]) for name, p in predicted.items()}
    blocks = np.tile(shared_ids(data.rows).to_numpy(), repeats)
    return {"y": np.tile(data.whole.y, repeats)} | flat, blocks


def crossed_predictions(run: StageRun, asset: str) -> np.ndarray:
    """Predictions [R, n, K] of all rows by cross-fits of a family, or of the winner (`model`)."""
    return read_arrays(artifact(run, asset) / CROSSED_FILE)["predicted"]


def crossed_winner(run: StageRun, result: Competition) -> np.ndarray:
    """Predictions [R, n, K] of the winner, who may be a blend."""
    task = run.product.declaration.label.learned
    members = {name: crossed_predictions(run, f"model/{name}") for name in result.weights}
    repeats = len(next(iter(members.values())))
    return np.array(
        [
            pool_of({name: p[at] for name, p in members.items()}, result.weights, task)
            for at in range(repeats)
        ]
    )


def load_models(run: StageRun) -> tuple[Model, Model]:
    """The winner as judged on test rows, and as served (the same one unless it was refitted)."""
    folder = artifact(run, "model")
    name, training = read_json(folder, "winner.json")["family"], run.product.declaration.training
    judged, served = (load_model(name, folder / kind, training) for kind in ("judged", "served"))
    return judged, served


def _winner(run: StageRun, result: Competition) -> Model:
    """The model of the winning family, or those of the families that the blend is made of."""
    declared = run.product.declaration
    members = [
        load_model(name, artifact(run, f"model/{name}"), declared.training)
        for name in result.weights
    ]
    return together(members, result.weights, declared.label.learned)


def _refit(run: StageRun, data: TrainingData, judged: Model) -> Model:
    training, task = run.product.declaration.training, run.product.declaration.label.learned
    # Where rows were crossed, the families have learned from all rows as it is.
    if training.refit == "none" or data.crossed:
        return judged
    run.say("refitting the winner on all rows of the window")
    params = read_json(artifact(run, "tuning"), "params.json")
    return refit_model(judged, data.whole, params, training=training, task=task)


def _refit_words(refit: str) -> str:
    if refit == "crossed":
        return (
            "what is served learned from all rows; cross-validation judges how it was made, so the "
            "served model itself is not judged"
        )
    if refit == "none":
        return "none: what is served is what is judged"
    return (
        "full: what is served was fitted again on all rows, for as many iterations; the test rows "
        "judge its twin that never saw them, so the served model itself is not judged"
    )


def _write_winner(
    judged: Model,
    served: Model,
    result: Competition,
    crossed: np.ndarray | None,
    folder: Path,
) -> None:
    if crossed is not None:
        write_arrays(folder / CROSSED_FILE, {"predicted": crossed})
    judged.save(folder / "judged")
    served.save(folder / "served")
    write_json(folder, "importances.json", served.importances())
    content = {"family": result.winner, "why": result.why, "iterations": judged.iterations}
    content["weights"] = result.weights
    write_json(folder, "winner.json", content | {"families": result.table.to_dicts()})


def _parameters(params: dict[str, Any]) -> pl.DataFrame:
    rows = [(name, str(value)) for name, value in params.items()]
    return pl.DataFrame(rows, schema=["parameter", "value"], orient="row")


def _image(png: bytes, alt: str) -> Any:
    return shown.markdown(plots.as_markdown_image(png, alt))
