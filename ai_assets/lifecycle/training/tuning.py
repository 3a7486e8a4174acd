"""The search for a family's parameters: a bounded number of trials, the same result every time."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import UserError
from ai_assets.lifecycle.learners.base import OF_VALUES, Dataset, OnStep, Task
from ai_assets.lifecycle.schema.durations import format_duration
from ai_assets.lifecycle.training.cross_validation import Fold, make_folds
from ai_assets.lifecycle.training.differences import days_of, difference_interval
from ai_assets.lifecycle.training.fitting import declared_family, learnable
from ai_assets.lifecycle.training.metrics import metric_value, sign
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.split import uniform

TRIALS_SCHEMA: dict[str, Any] = {
    "trial": pl.Int64,
    "state": pl.String,
    "value": pl.Float64,
    "folds": pl.List(pl.Float64),
    "params": pl.String,
}

# What a trial must have before it is given up after a fold: as many trials to compare with, or
# fewer in a short search.
COMPARED_TRIALS = 3
# The same within its only fold, and as many steps one after the other without a better loss.
COMPARED_WITHIN = 5
STALLED_STEPS = 2


class TuningTimeoutError(UserError):
    """The declared time was not enough for the declared trials."""


@dataclass(frozen=True)
class Study:
    """What a search found.

    Attributes:
        family: Name of the family.
        metric: Name of the metric that decided.
        params: The parameters that were taken: the best, or what `tune.rule` kept in their place.
        value: Their mean metric over the folds.
        default_value: The same of the family's defaults, the first trial.
        trials: A row a trial: `trial`, `state` (complete, pruned), `value` (mean of its folds; null
            where it was given up within the first), `folds`, `params` (JSON).
        held_out: Positions [n] in `train` of the rows that the folds judged by.
        predicted: What these parameters, fitted on the rows before, say of those rows [n, K].
        rows: Number of rows that were tuned on.
        seconds: How long the search took. The only field that differs between two runs.
    """

    family: str
    metric: str
    params: dict[str, Any]
    value: float
    default_value: float
    trials: pl.DataFrame
    held_out: np.ndarray
    predicted: np.ndarray
    rows: int
    seconds: float


def tune(
    family: str,
    train: Dataset,
    times: np.ndarray | None,
    *,
    training: Training,
    task: Task,
    row_ids: np.ndarray | None = None,
    dealt: bool = False,
    seed: int | None = None,
    threads: int | None = None,
    on_trial: Callable[[int, float | None], None] | None = None,
) -> Study:
    """Search with Optuna's TPE (Bergstra et al. 2011); the first trial is the defaults.

    A trial is judged by the mean metric over the folds and given up after a fold when it is worse
    than the median of the trials before it. With one fold alone the loss at the learner's steps
    decides, from the sixth trial on, and only where it improves no more: small learning rates are
    behind early and ahead in the end. Under `tune.rule: clearly_better` the best trial wins only
    where it is clearly better than the defaults, as a blend must be than its best family.

    Args:
        family: name of the family.
        train: train rows only; validation and test rows play no part.
        times: event times [n] for folds that run forward, or None.
        training: the product's declaration.
        task: what is predicted.
        row_ids: int64 [n], for folds and samples without times; default: their positions.
        dealt: whether each fold is to have its share of each class; only without times.
        seed: default: the declared one.
        threads: default: the declared number.
        on_trial: called as (trial, value) after each; None for one given up within its fold.

    Raises:
        TuningTimeoutError: `tune.timeout` was hit.
        DataError: too few rows or times for the folds.
    """
    started = time.monotonic()
    seed = training.seed if seed is None else seed
    training = training.model_copy(
        update={"threads": training.threads if threads is None else threads, "seed": seed}
    )
    ids = np.arange(len(train)) if row_ids is None else row_ids
    labels = train.y if dealt and task not in OF_VALUES else None
    kept, folds = tuning_folds(times, ids, training, labels)
    metric = training.metric_for(task)
    days = days_of(None if times is None else times[kept])
    judge = _Judge(family, train.take(kept), folds, training, task, metric, started, days)

    def report(_: Any, trial: Any) -> None:
        if on_trial is not None:
            on_trial(trial.number, _mean_of_folds(trial))

    study = _search(judge, seed, training.tune.trials, report)
    # Optuna's parameters lack what the space does not vary; the trial's own are complete.
    number = study.best_trial.number
    if training.tune.rule == "clearly_better" and not judge.is_clear(number):
        number = 0
    taken = study.trials[number]
    return Study(
        family=family,
        metric=metric,
        params=taken.user_attrs["params"],
        value=sign(metric) * taken.value,
        default_value=sign(metric) * study.trials[0].value,
        trials=_trials_frame(study.trials),
        held_out=np.concatenate([kept[judged] for _, judged in folds]),
        predicted=np.concatenate(judge.predicted[number]),
        rows=len(kept),
        seconds=time.monotonic() - started,
    )


def tuning_folds(
    times: np.ndarray | None, ids: np.ndarray, training: Training, labels: np.ndarray | None
) -> tuple[np.ndarray, list[Fold]]:
    """Positions of the rows that a search is over, and its folds, as positions among those.

    Args:
        times: event times [n] for folds that run forward, or None.
        ids: int64 [n], for folds and samples without times.
        training: the declaration.
        labels: classes [n] that each fold is to have its share of, or None.

    Raises:
        DataError: too few rows or times for the folds.
    """
    kept = tuning_rows(times, ids, training.tune.max_rows)
    own = None if labels is None else labels[kept]
    cut = None if times is None else times[kept]
    return kept, make_folds(cut, ids[kept], training.tune.folds, own)


def tuning_rows(times: np.ndarray | None, row_ids: np.ndarray, most: int) -> np.ndarray:
    """Positions of the rows to tune on, ascending: all, the latest, or a sample by hash of id."""
    if len(row_ids) <= most:
        return np.arange(len(row_ids))
    place = uniform(row_ids, salt=2) if times is None else times
    return np.sort(np.argsort(place, kind="stable")[-most:])


class _Judge:
    """Optuna's objective: the mean signed metric of a trial's parameters over the folds."""

    def __init__(
        self,
        family: str,
        data: Dataset,
        folds: list[Fold],
        training: Training,
        task: Task,
        metric: str,
        started: float,
        days: np.ndarray | None,
    ) -> None:
        self.learner = declared_family(family, training)
        self.given = training.parameters.get(family, {})
        self.training, self.task, self.metric, self.started = training, task, metric, started
        self.predicted: dict[int, list[np.ndarray]] = {}
        self.folds = [
            (learnable(data.take(a), family, training, task), data.take(b)) for a, b in folds
        ]
        held_out = np.concatenate([b for _, b in folds])
        self.y, self.days = data.y[held_out], None if days is None else days[held_out]

    def __call__(self, trial: Any) -> float:
        import optuna

        params = self.learner.suggest(trial) | self.given
        trial.set_user_attr("params", params)
        values: list[float] = []
        answers = self.predicted[trial.number] = []
        for number, (train, held_out) in enumerate(self.folds):
            self.check_time(trial.number)
            model = self.learner.fit(
                train,
                held_out,
                params,
                task=self.task,
                seed=self.training.seed,
                threads=self.training.threads,
                on_step=self.watching(trial),
            )
            answers.append(model.predict(held_out.x))
            values.append(metric_value(self.metric, self.task, held_out.y, answers[-1]))
            trial.set_user_attr("folds", values)
            if len(self.folds) == 1:
                break
            trial.report(sign(self.metric) * float(np.mean(values)), number)
            if number < len(self.folds) - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return sign(self.metric) * float(np.mean(values))

    def watching(self, trial: Any) -> OnStep:
        """What a learner calls at its steps, which ends the trial where it is without hope."""
        import optuna

        best, stalled = float("inf"), 0

        def on_step(step: int, value: float) -> None:
            nonlocal best, stalled
            self.check_time(trial.number)
            if len(self.folds) > 1:
                return
            trial.report(value, step)
            stalled = 0 if value < best else stalled + 1
            best = min(best, value)
            if stalled >= STALLED_STEPS and trial.should_prune():
                raise optuna.TrialPruned

        return on_step

    def is_clear(self, trial: int) -> bool:
        """Whether a complete trial is better than the first one by more than chance."""
        if trial == 0:
            return False
        ours, defaults = (np.concatenate(self.predicted[number]) for number in (trial, 0))
        low, high = difference_interval(
            self.y, ours, defaults, self.metric, self.training.seed, self.days
        )
        return high < 0 if sign(self.metric) > 0 else low > 0

    def check_time(self, trial: int) -> None:
        limit = self.training.tune.timeout
        if limit is None or time.monotonic() - self.started <= limit.total_seconds():
            return
        raise TuningTimeoutError(
            f"tuning of {self.learner.name} took longer than tune.timeout "
            f"({format_duration(limit)}) with {trial} of {self.training.tune.trials} trials done. "
            "Lower tune.trials, tune.folds or tune.max_rows, or raise tune.timeout: a search cut "
            "short would depend on the machine's speed."
        )


def _sampler(optuna: Any, seed: int, trials: int) -> Any:
    # With a dozen trials, Optuna's ten random ones at the start would leave nothing to learn from.
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(10, max(3, trials // 3)))


def _compared(trials: int, folds: int) -> int:
    """How many trials come before the first that may be given up."""
    return COMPARED_WITHIN if folds == 1 else min(COMPARED_TRIALS, max(1, trials // 2))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna tells no trials while the block runs. What it tells belongs to the process, so around
    searches that go on at the same time it is said once more."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _search(judge: _Judge, seed: int, trials: int, report: Any) -> Any:
    import optuna

    with quiet_optuna():
        study = optuna.create_study(
            sampler=_sampler(optuna, seed, trials),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_compared(trials, len(judge.folds))
            ),
            direction="minimize",
        )
        study.enqueue_trial(judge.learner.defaults())
        study.optimize(judge, n_trials=trials, n_jobs=1, callbacks=[report])
    return study


def _mean_of_folds(trial: Any) -> float | None:
    values = trial.user_attrs.get("folds")
    return float(np.mean(values)) if values else None


def _trials_frame(trials: list[Any]) -> pl.DataFrame:
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "value": _mean_of_folds(trial),
            "folds": trial.user_attrs.get("folds", []),
            "params": json.dumps(trial.user_attrs["params"], sort_keys=True),
        }
        for trial in trials
    ]
    return pl.DataFrame(rows, schema=TRIALS_SCHEMA)
