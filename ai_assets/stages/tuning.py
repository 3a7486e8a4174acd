"""tuning: the search for each family's parameters, on train rows only."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.learners.base import OF_VALUES, write_arrays
from ai_assets.lifecycle.training.lanes import fit_in_lanes
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.tuning import Study, quiet_optuna, tune, tuning_folds
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, StageRun
from ai_assets.stages.declared.learning import search_settings
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

HELD_OUT = "held_out.npz"
MADE = "made.json"


def tune_families(run: StageRun) -> Outcome:
    """Tune each declared family; the studies go to the lake, to MLflow and to the metadata.

    While an earlier search of the same declaration is fresh enough, its result is taken over.
    """
    if earlier := fresh_search(run):
        return take_over(run, earlier)
    data = load_training_data(run)
    training = run.product.declaration.training

    def tuned(family: str, lane: Training) -> Study:
        return tune_family(run, data, family, lane.threads)

    with quiet_optuna():
        studies = fit_in_lanes(training.families, tuned, training, data.split("train"))
    trials = pl.concat(
        [s.trials.select(pl.lit(s.family).alias("family"), pl.all()) for s in studies]
    )
    trials = trials.with_columns(pl.col("folds").list.eval(pl.element().round(6)))
    version = save_folder(run, "tuning", partial(_write, run, data, studies))
    run.lake.replace(run.name("tuning"), trials.drop("folds"), run.partition)
    return Outcome(
        version,
        {
            "chosen": shown.table(pl.DataFrame([_summary(study) for study in studies])),
            "trials": shown.markdown(
                plots.as_markdown_image(plots.trials(_values(trials)), "trials")
            ),
            **shown.numbers({s.family: s.value for s in studies}, prefix="best_"),
        },
    )


def fresh_search(run: StageRun) -> str | None:
    """The newest earlier partition that was searched as is declared now, within `tune.refresh`."""
    refresh = run.product.declaration.training.tune.refresh
    partitions = run.product.partitions
    if partitions is None or run.partition is None or refresh == 1:
        return None
    there = set(run.lake.artifacts(run.name("tuning")))
    for key in reversed(partitions.window(run.partition, refresh)[:-1]):
        if key not in there:
            continue
        made = read_json(run.lake.artifact(run.name("tuning"), key), MADE)
        if made["settings"] == search_settings(run.product) and made["partition"] == key:
            return key
    return None


def take_over(run: StageRun, earlier: str) -> Outcome:
    """Let the result of an earlier partition stand for this one."""
    source = Path(run.lake.artifact(run.name("tuning"), earlier))
    version = save_folder(run, "tuning", partial(_copy, source))
    trials = run.lake.scan(run.name("tuning"), [earlier]).collect()
    run.lake.replace(run.name("tuning"), trials, run.partition)
    params = read_json(source, "params.json")
    table = pl.DataFrame({"family": list(params), "parameters": [str(p) for p in params.values()]})
    return Outcome(version, {"chosen": shown.table(table), "taken_from": earlier})


def _copy(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, dirs_exist_ok=True)


def tune_family(run: StageRun, data: TrainingData, family: str, threads: int) -> Study:
    """Tune one family by so many threads; each trial is logged as it ends."""
    declared = run.product.declaration
    train, (times, row_ids) = data.split("train"), _order(run, data)
    name = f"tuning/{family}/{run.partition or 'all'}"
    with run.tools.tracker.run(
        run.name("tuning").experiment, name, run_tags(run, "tuning", data)
    ) as tracked:

        def report(trial: int, value: float | None) -> None:
            told = "given up" if value is None else f"{value:.5f}"
            run.say(f"{family}: trial {trial + 1} of {declared.training.tune.trials}: {told}")
            if value is None:
                return
            tracked.log_metrics(
                {declared.training.metric_for(declared.label.learned): value}, step=trial
            )

        study = tune(
            family,
            train,
            times,
            training=declared.training,
            task=declared.label.learned,
            row_ids=row_ids,
            dealt=data.crossed,
            threads=threads,
            on_trial=report,
        )
        tracked.log_params(study.params)
    return study


def _order(run: StageRun, data: TrainingData) -> tuple[np.ndarray | None, np.ndarray]:
    """What decides the folds of the rows to train on: their times, if any, and ids [n]."""
    mask, times = data.mask("train"), None
    if run.product.partitions is not None:
        times = data.rows["event_time"].to_numpy()[mask]
    return times, shared_ids(data.rows).to_numpy()[mask]


def learned_in_folds(run: StageRun, data: TrainingData) -> list[np.ndarray]:
    """Positions of the rows that the search of the run's partition learned from, a fold each; none
    where it took the result of an earlier one."""
    if read_json(artifact(run, "tuning"), MADE)["partition"] != run.partition:
        return []
    train, (times, row_ids) = np.flatnonzero(data.mask("train")), _order(run, data)
    declared = run.product.declaration
    labels = data.whole.y[train] if data.crossed and declared.label.task not in OF_VALUES else None
    kept, folds = tuning_folds(times, row_ids, declared.training, labels)
    return [train[kept[learned]] for learned, _ in folds]


def _write(run: StageRun, data: TrainingData, studies: list[Study], folder: Path) -> None:
    """The parameters, and what each family says of the rows that the folds held out."""
    write_json(folder, MADE, {"partition": run.partition, "settings": search_settings(run.product)})
    write_json(folder, "params.json", {study.family: study.params for study in studies})
    y = data.split("train").y[studies[0].held_out]
    write_arrays(folder / HELD_OUT, {"y": y} | {s.family: s.predicted for s in studies})


def _summary(study: Study) -> dict[str, object]:
    return {
        "family": study.family,
        study.metric: study.value,
        "with defaults": study.default_value,
        "rows": study.rows,
        "parameters": ", ".join(f"{k}={_short(v)}" for k, v in study.params.items()),
    }


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _values(trials: pl.DataFrame) -> dict[str, np.ndarray]:
    return {
        str(key[0]): group["value"].to_numpy()
        for key, group in trials.group_by("family", maintain_order=True)
    }
