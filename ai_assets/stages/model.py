"""model/<family>: each family fitted; model: the winner of the competition."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.learners.base import Model, read_arrays
from ai_assets.lifecycle.learners.blend import BlendModel
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.compete import Competition, compete
from ai_assets.lifecycle.training.fitting import fit_model, load_model, refit_model
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
from ai_assets.stages.tuning import HELD_OUT

_STEPS_BETWEEN_WORDS = 100
_SECONDS_BETWEEN_WORDS = 5


def fit_family(run: StageRun, family: str) -> Outcome:
    """Fit one family, calibrate it on validation rows and keep both."""
    data = load_training_data(run)
    declared = run.product.declaration
    training, task = declared.training, declared.label.task
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

        validation = data.split("validation")
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
        scores = model.predict(validation.x)
        # Families compete as they would be served: calibrated.
        calibrated = fit_calibration(training.calibration, scores, validation.y).apply(scores)
        metric = training.metric_for(task)
        values = {metric: metric_value(metric, task, validation.y, calibrated)}
        tracked.log_params({"family": family, **params})
        tracked.log_curve(model.curve)
        tracked.log_metrics({f"validation_{k}": v for k, v in values.items()})
    version = save_folder(run, f"model/{family}", model.save)
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


def choose_model(run: StageRun) -> Outcome:
    """Take what does best on the rows that tuning's folds held out; refit it where declared.

    Those rows reach further ahead than validation, which has also said when to stop the fits.
    """
    data = load_training_data(run)
    training, task = run.product.declaration.training, run.product.declaration.label.task
    held_out = read_arrays(artifact(run, "tuning") / HELD_OUT)
    result = compete(
        held_out.pop("y"),
        held_out,
        metric=training.metric_for(task),
        task=task,
        seed=training.seed,
        calibration=training.calibration,
        blend=training.blend,
    )
    run.say(result.why)
    judged = _winner(run, result)
    served = _refit(run, data, judged)
    version = save_folder(run, "model", partial(_write_winner, judged, served, result))
    return Outcome(
        version,
        {
            "winner": result.winner,
            "weights": ", ".join(f"{name} {share:.2f}" for name, share in result.weights.items()),
            "why": result.why,
            "families": shown.table(result.table),
            "refit": _refit_words(training.refit),
            "importances": _image(plots.importances(served.importances()), "importances"),
        },
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
    if len(members) == 1:
        return members[0]
    return BlendModel(declared.label.task, members, list(result.weights.values()))


def _refit(run: StageRun, data: TrainingData, judged: Model) -> Model:
    training, task = run.product.declaration.training, run.product.declaration.label.task
    if training.refit == "none":
        return judged
    run.say("refitting the winner on all rows of the window")
    params = read_json(artifact(run, "tuning"), "params.json")
    return refit_model(judged, data.whole, params, training=training, task=task)


def _refit_words(refit: str) -> str:
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
    folder: Path,
) -> None:
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
