"""Tuning: bounded, repeatable, forward in time, and failing rather than cut short."""

import threading

import numpy as np
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.linear import Linear
from ai_assets.lifecycle.training import tuning
from ai_assets.lifecycle.training.fitting import fit_model, refit_model, weighted
from ai_assets.lifecycle.training.metrics import metric_value
from ai_assets.lifecycle.training.spec import Split, Training, Tune
from ai_assets.lifecycle.training.tuning import (
    TuningTimeoutError,
    quiet_optuna,
    tune,
    tuning_rows,
)
from ai_assets_tests.lifecycle.test_learners import make_data

DATA = make_data(rows=600)
TIMES = np.arange(600)


def spec(**tune_with) -> Training:
    return Training(tune={"trials": 3, "folds": 2, **tune_with}, threads=1)


def test_a_search_is_bounded_repeatable_and_starts_with_the_defaults():
    seen = []
    first = tune(
        "linear", DATA, TIMES, training=spec(), task="binary", on_trial=lambda *t: seen.append(t)
    )
    second = tune("linear", DATA, TIMES, training=spec(), task="binary")
    assert first.trials.equals(second.trials)
    assert first.trials.height == len(seen) == 3
    assert first.trials["params"][0] == '{"c": 0.1}'
    assert first.value == first.trials.filter(state="complete")["value"].min()
    assert first.value <= first.default_value == first.trials["value"][0]
    assert (first.metric, first.rows) == ("log_loss", 600)


def test_a_metric_to_be_large_is_made_large():
    training = spec().model_copy(update={"metric": "roc_auc"})
    study = tune("linear", DATA, TIMES, training=training, task="binary")
    assert study.value == study.trials.filter(state="complete")["value"].max() > 0.7


def test_a_timeout_fails_with_advice():
    with pytest.raises(TuningTimeoutError, match=r"Lower tune.trials, tune.folds or tune.max_rows"):
        tune("linear", DATA, TIMES, training=spec(timeout="0.001 seconds"), task="binary")


def test_tuning_rows_are_the_latest_or_a_stable_sample():
    assert tuning_rows(np.array([5, 1, 9, 3]), np.arange(4), 2).tolist() == [0, 2]
    sample = tuning_rows(None, np.arange(1000), 100)
    assert len(set(sample)) == 100
    assert (sample == tuning_rows(None, np.arange(1000), 100)).all()


def test_balanced_weights_make_classes_equal():
    data = weighted(DATA, Training(class_weight="balanced"), "binary")
    assert data.weight.mean() == pytest.approx(1)
    assert data.weight[data.y == 1].sum() == pytest.approx(data.weight[data.y == 0].sum())


def test_a_refit_has_as_many_iterations_as_its_model():
    train, validation = DATA.take(TIMES[:400]), DATA.take(TIMES[400:])
    params, training = {"learning_rate": 0.1, "min_child_samples": 20}, Training(threads=1)
    model = fit_model("lightgbm", train, validation, params, training=training, task="binary")
    again = refit_model(model, DATA, {"lightgbm": params}, training=training, task="binary")
    assert again.iterations == model.iterations > 1


@pytest.mark.parametrize(
    ("section", "given", "words"),
    [
        (Training, {"families": ["linaer"]}, "Did you mean 'linear'?"),
        (Training, {"metric": "logloss"}, "Did you mean 'log_loss'?"),
        (Training, {"windw": 3}, "Did you mean 'window'?"),
        (Split, {"validation": 0.6, "test": 0.5}, "must be at most 0.9, but got 1.1"),
        (Tune, {"timeout": "0 seconds"}, "must be longer than 0 seconds"),
    ],
)
def test_a_wrong_declaration_says_what_is_allowed(section, given, words):
    with pytest.raises(ValueError) as raised:
        section(**given)
    assert words in str(raised.value)


def test_a_metric_of_another_task_is_refused():
    with pytest.raises(ValueError, match="metric of a regression task must be one of 'rmse'"):
        Training(metric="log_loss").metric_for("regression")
    assert Training().metric_for("regression") == "rmse"


@pytest.mark.parametrize("family", ["linear", "lightgbm", "mlp"])
def test_an_ignored_feature_changes_no_prediction(family):
    first = DATA.encoding.names[0]
    params = get_family(family).defaults()
    training = Training(threads=1, ignore_features=[first])
    model = fit_model(family, DATA, DATA, params, training=training, task="binary")
    changed = DATA.x.copy()
    changed[:, 0] = np.linspace(-50, 50, len(DATA))
    assert (model.predict(changed) == model.predict(DATA.x)).all()
    assert model.importances()[first] == 0


def test_a_feature_can_be_ignored_by_one_family_alone():
    first = DATA.encoding.names[0]
    training = Training(threads=1, ignore_features={"linear": [first]})
    used = {
        family: fit_model(
            family, DATA, DATA, get_family(family).defaults(), training=training, task="binary"
        ).importances()[first]
        for family in ("linear", "lightgbm")
    }
    assert used["linear"] == 0
    assert used["lightgbm"] > 0


def test_only_families_ignore_features():
    with pytest.raises(ValueError, match="a family in ignore_features must be one of"):
        Training(ignore_features={"lineal": ["x"]})


def test_an_ignored_feature_must_exist():
    training = Training(threads=1, ignore_features=["nothing"])
    with pytest.raises(DeclarationError, match="ignore_features"):
        fit_model("linear", DATA, DATA, {"c": 0.1}, training=training, task="binary")


def test_the_best_trial_says_what_it_thinks_of_rows_it_did_not_learn_from():
    study = tune("linear", DATA, TIMES, training=spec(), task="binary")
    assert study.held_out.tolist() == list(range(300, 600))
    assert study.predicted.shape == (300, 1)
    losses = [
        metric_value("log_loss", "binary", DATA.y[rows], study.predicted[rows - 300])
        for rows in (np.arange(300, 450), np.arange(450, 600))
    ]
    assert np.mean(losses) == pytest.approx(study.value)


def test_the_defaults_stay_unless_a_set_is_clearly_better():
    best = tune("linear", DATA, TIMES, training=spec(), task="binary")
    kept = tune("linear", DATA, TIMES, training=spec(rule="clearly_better"), task="binary")
    assert best.value < best.default_value  # by a little, on these 300 rows
    assert best.params != kept.params == {"c": 0.1}
    assert kept.trials.equals(best.trials)
    assert kept.value == kept.default_value == best.default_value
    alone = tune("linear", DATA, TIMES, training=spec(trials=1), task="binary")
    assert (kept.predicted == alone.predicted).all()


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_a_set_that_is_clearly_better_replaces_the_defaults(metric, monkeypatch):
    monkeypatch.setattr(Linear, "defaults", lambda self: {"c": 1e-4})
    training = spec(rule="clearly_better", trials=6).model_copy(update={"metric": metric})
    study = tune("linear", DATA, TIMES, training=training, task="binary")
    values = study.trials.filter(state="complete")["value"]
    assert study.params["c"] > 1e-4
    assert study.value == (values.min() if metric == "log_loss" else values.max())


def test_days_are_drawn_whole_to_say_what_is_clear(monkeypatch):
    given = []

    def interval(y, *others):
        given.append((len(y), others[-1]))
        return -0.1, 0.1

    monkeypatch.setattr(tuning, "difference_interval", interval)
    times = np.datetime64("2013-01-01T00:00") + np.arange(600).astype("timedelta64[h]")
    for when in (times, TIMES):
        tune("linear", DATA, when, training=spec(rule="clearly_better"), task="binary")
    assert [rows for rows, _ in given] == [300, 300]
    assert (given[0][1] == times[300:].astype("datetime64[D]")).all()
    assert given[1][1] is None


def test_declared_parameters_are_not_searched():
    training = spec().model_copy(update={"parameters": {"linear": {"c": 0.7}}})
    study = tune("linear", DATA, TIMES, training=training, task="binary")
    assert set(study.trials["params"]) == {'{"c": 0.7}'}


def test_a_small_table_gets_leaves_of_its_size():
    few = DATA.take(TIMES[:200])
    model = fit_model(
        "lightgbm", few, DATA.take(TIMES[400:]), get_family("lightgbm").defaults(),
        training=Training(threads=1), task="binary",
    )  # fmt: skip
    assert max(model.importances().values()) > 0.2
    assert model.predict(DATA.x).std() > 0.01


FLAT = [0.6, 0.5, 0.5, 0.5, 0.5]
WORSE = [0.9, 0.8, 0.8, 0.8, 0.8]
SLOW = [0.9, 0.8, 0.7, 0.5, 0.3]


class Scripted:
    """A family whose n-th trial has the n-th curve of losses and predicts by its last one."""

    name = "scripted"

    def __init__(self, curves: list[list[float]]) -> None:
        self.curves, self.taken = curves, [0] * len(curves)

    def defaults(self) -> dict[str, float]:
        return {}

    def suggest(self, trial) -> dict[str, float]:
        return {"trial": trial.number, "x": trial.suggest_float("x", 0, 1)}

    def fit(self, train, validation, params, *, on_step, **_) -> "Scripted":
        self.number = params["trial"]
        for step, loss in enumerate(self.curves[self.number]):
            self.taken[self.number] += 1
            on_step(step, loss)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        # A constant p has a log loss that falls with its distance from the share of ones.
        return np.full((len(x), 1), 0.5 + self.curves[self.number][-1] / 2 - 0.1)


def searched(monkeypatch: pytest.MonkeyPatch, curves: list[list[float]], folds: int = 1):
    family = Scripted(curves)
    monkeypatch.setattr(tuning, "declared_family", lambda name, training: family)
    monkeypatch.setattr(tuning, "learnable", lambda data, *_: data)
    told: list[tuple[int, float | None]] = []
    study = tune(
        "scripted", DATA, TIMES, training=spec(trials=len(curves), folds=folds), task="binary",
        on_trial=lambda *t: told.append(t),
    )  # fmt: skip
    return study, family.taken, told


def test_with_one_fold_a_trial_without_hope_is_given_up_within_it(monkeypatch) -> None:
    study, steps, told = searched(monkeypatch, [FLAT] * 5 + [WORSE, SLOW, FLAT])

    states = study.trials["state"].to_list()
    assert states == ["complete"] * 5 + ["pruned", "complete", "complete"]
    # Two steps after its best; a trial that improves is followed to its end, however late it is.
    assert steps == [5] * 5 + [4, 5, 5]
    assert study.trials.row(5, named=True)["value"] is None
    assert study.trials.row(5, named=True)["folds"] == []
    assert told[5] == (5, None)
    assert all(value is not None for number, value in told if number != 5)
    assert study.value == study.trials["value"].min()


def test_the_first_five_trials_are_compared_with_and_never_given_up(monkeypatch) -> None:
    study, steps, _ = searched(monkeypatch, [FLAT, FLAT, FLAT, FLAT, WORSE])

    assert set(study.trials["state"]) == {"complete"}
    assert steps == [5] * 5


def test_with_several_folds_a_trial_is_given_up_after_a_fold(monkeypatch) -> None:
    study, steps, _ = searched(monkeypatch, [FLAT, FLAT, FLAT, [0.9] * 5], folds=2)

    assert study.trials["state"].to_list() == ["complete"] * 3 + ["pruned"]
    assert steps == [10, 10, 10, 5]
    assert [len(folds) for folds in study.trials["folds"]] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("trials", "states"),
    [
        (3, ["complete", "pruned", "pruned"]),
        (4, ["complete", "complete", "pruned", "pruned"]),
        (8, ["complete"] * 3 + ["pruned"] * 5),
    ],
)
def test_a_short_search_compares_with_fewer_trials(trials, states, monkeypatch) -> None:
    # Each is worse than the one before.
    curves = [[0.5 + 0.01 * number] for number in range(trials)]
    study, _, _ = searched(monkeypatch, curves, folds=2)

    assert study.trials["state"].to_list() == states
    assert study.value == study.default_value


def test_trees_are_searched_with_one_fold_as_repeatably_as_with_more() -> None:
    training = spec(trials=7, folds=1).model_copy(
        update={"parameters": {"lightgbm": {"min_child_samples": 20}}}
    )
    first, second = (
        tune("lightgbm", DATA, TIMES, training=training, task="binary") for _ in range(2)
    )
    assert first.trials.equals(second.trials)
    assert first.value == first.trials["value"].min()


def test_optuna_tells_as_much_as_before_when_searches_that_overlap_have_ended():
    optuna = pytest.importorskip("optuna")
    before, inside = optuna.logging.get_verbosity(), threading.Event()

    def search(ends: threading.Event) -> None:
        with quiet_optuna():
            inside.set()
            assert ends.wait(30)

    with quiet_optuna():
        ends = threading.Event()
        other = threading.Thread(target=search, args=[ends])
        other.start()
        assert inside.wait(30)
        with quiet_optuna():
            ends.set()
            other.join()
            assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    assert optuna.logging.get_verbosity() == before != optuna.logging.WARNING
