"""Families fit, predict, export, save and load; twice the same inputs, twice the same bytes."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners import ALLOWED_OF, get_family
from ai_assets.lifecycle.learners.base import Dataset, class_count, shares
from ai_assets.lifecycle.learners.lightgbm import LightGbm, useful_threads
from ai_assets.lifecycle.learners.preparation import fit_preparation
from ai_assets.lifecycle.training.fitting import declared_family
from ai_assets.lifecycle.training.spec import Training

CATEGORIES = (3, 40)
TABULAR = ALLOWED_OF["tabular"]


def make_data(task: str = "binary", rows: int = 1500, seed: int = 0) -> Dataset:
    """Two telling numbers, one useless one, and two categories of which the second tells."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 3)) * (10, 1, 1)
    codes = np.stack([random.integers(-1, k, rows) for k in CATEGORIES], axis=1)
    score = numbers[:, 0] / 5 + np.sin(2 * numbers[:, 1]) + (codes[:, 1] % 2)
    numbers[random.random((rows, 3)) < 0.05] = np.nan
    if task == "binary":
        y = random.random(rows) < 1 / (1 + np.exp(-score))
    elif task == "multiclass":
        y = np.digitize(score + random.normal(size=rows), [-1, 1])
    elif task == "count":
        y = random.poisson(np.exp(score / 2))
    else:
        y = 100 + 20 * score
    columns = [EncodedColumn(f"n{i}", "numeric") for i in range(3)]
    columns += [
        EncodedColumn(f"c{i}", "categorical", tuple(map(str, range(k))))
        for i, k in enumerate(CATEGORIES)
    ]
    x = np.concatenate([numbers, codes], axis=1).astype(np.float32)
    return Dataset(x, y.astype(np.float64), None, Encoding(tuple(columns)))


def quick(family: str) -> dict:
    params = get_family(family).defaults()
    trees = {"learning_rate": 0.1, "min_child_samples": 20}
    faster = {"lightgbm": trees, "extra_trees": trees, "mlp": {"width": 16}}
    return params | faster.get(family, {})


def fit(family: str, task: str = "binary", **more):
    data = make_data(task)
    train, validation = data.take(np.arange(1100)), data.take(np.arange(1100, 1500))
    params = quick(family) | more
    return get_family(family).fit(train, validation, params, task=task, seed=3, threads=1)


def odd_rows() -> np.ndarray:
    """Missing everything, unseen codes, absurd numbers, and ordinary rows."""
    x = make_data(seed=9).x[:200].copy()
    x[0], x[1, :3], x[2, 3:], x[3, 3:], x[4, :3] = np.nan, np.nan, -1, 999, 1e9
    return x


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "count"])
@pytest.mark.parametrize("family", TABULAR)
def test_the_graph_answers_like_the_model_on_odd_rows_in_any_batch_size(family, task):
    model = fit(family, task)
    session, x = open_session(model.to_onnx()), odd_rows()
    expected = model.predict(x)
    assert expected.shape == (200, 3 if task == "multiclass" else 1)
    for size in (1, 7, 200):
        given = run_session(session, x[:size])
        assert (
            np.abs(given - expected[:size]) / np.maximum(1, np.abs(expected[:size]))
        ).max() < 1e-5


@pytest.mark.parametrize("family", TABULAR)
def test_a_saved_model_comes_back_the_same(family, tmp_path: Path):
    model = fit(family)
    model.save(tmp_path)
    again = get_family(family).load(tmp_path)
    assert np.array_equal(again.predict(odd_rows()), model.predict(odd_rows()))
    assert again.to_onnx() == model.to_onnx()
    assert (again.iterations, again.curve) == (model.iterations, model.curve)
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("family", TABULAR)
def test_a_model_learns_and_ranks_the_telling_feature_first(family):
    model, fresh = fit(family), make_data(seed=5)
    p = model.predict(fresh.x)[:, 0]
    assert -np.mean(np.log(np.where(fresh.y == 1, p, 1 - p))) < 0.55
    importances = model.importances()
    assert sum(importances.values()) == pytest.approx(1, abs=1e-4)
    assert max(importances, key=importances.get) == "n0"


@pytest.mark.parametrize("family", ["lightgbm", "mlp"])
def test_without_validation_a_fit_runs_exactly_the_given_iterations(family):
    params = quick(family) | {"iterations": 4}
    model = get_family(family).fit(make_data(), None, params, task="binary", seed=0, threads=1)
    assert model.iterations == 4


@pytest.mark.parametrize("family", TABULAR)
def test_what_on_step_raises_stops_the_fit(family):
    class Stop(Exception):
        pass

    def on_step(step: int, value: float) -> None:
        assert step >= 1 and 0 < value < 5
        raise Stop

    data = make_data()
    with pytest.raises(Stop):
        get_family(family).fit(
            data, data, quick(family), task="binary", seed=0, threads=1, on_step=on_step
        )


def test_fits_in_two_fresh_processes_give_the_same_bytes(tmp_path: Path):
    script = (
        "import sys, pathlib; from ai_assets_tests.lifecycle.test_learners import *\n"
        "for family in TABULAR:\n"
        "    model, folder = fit(family), pathlib.Path(sys.argv[1]) / family\n"
        "    model.save(folder); (folder / 'model.onnx').write_bytes(model.to_onnx())\n"
    )
    folders = [tmp_path / "first", tmp_path / "second"]
    runs = [subprocess.Popen([sys.executable, "-c", script, str(folder)]) for folder in folders]
    assert [run.wait(timeout=90) for run in runs] == [0, 0]
    digests = [
        {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*.*")
        }
        for folder in folders
    ]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 12


def test_an_unknown_family_is_refused_with_the_nearest_name():
    with pytest.raises(DeclarationError, match=r"but got 'lightbgm'. Did you mean 'lightgbm'?"):
        get_family("lightbgm")


def test_labels_of_one_class_are_refused():
    with pytest.raises(DataError, match="needs at least two classes"):
        class_count("binary", replace(make_data(rows=5), y=np.ones(5)))


@pytest.mark.parametrize("family", TABULAR)
def test_a_class_that_training_lacks_is_answered_with_next_to_no_probability(family):
    data = make_data("multiclass")
    known = replace(data, classes=5)
    train, validation = known.take(np.arange(1100)), known.take(np.arange(1100, 1500))
    model = get_family(family).fit(
        train, validation, quick(family), task="multiclass", seed=3, threads=1
    )
    found = model.predict(validation.x)
    assert found.shape == (400, 5)
    assert found[:, 3:].max() < 0.05
    given = run_session(open_session(model.to_onnx()), validation.x)
    assert np.abs(given - found).max() < 1e-5


def test_a_number_beyond_the_classes_is_refused():
    data = replace(make_data("multiclass"), classes=2)
    with pytest.raises(DataError, match="numbers below 2, the number of classes, but got 2"):
        class_count("multiclass", data)


def test_shares_of_nothing_are_equal():
    assert shares(["a", "b"], np.zeros(2)) == {"a": 0.5, "b": 0.5}


def test_a_row_just_above_a_threshold_takes_the_same_branch_in_the_graph():
    # 0.1 as float32 is above 0.1 as a double: rounded to the nearest, a threshold between the two
    # would become the very value that it keeps out.
    random = np.random.default_rng(0)
    steps = np.float32(0.1) * random.integers(1, 400, 3000).astype(np.float32)
    x = np.stack([steps, random.normal(size=3000).astype(np.float32)], axis=1)
    y = (random.random(3000) < 1 / (1 + np.exp(-np.sin(steps)))).astype(np.float64)
    encoding = Encoding((EncodedColumn("a", "numeric"), EncodedColumn("b", "numeric")))
    params = quick("lightgbm") | {"iterations": 150, "num_leaves": 63}
    model = get_family("lightgbm").fit(
        Dataset(x, y, None, encoding), None, params, task="binary", seed=0, threads=1
    )
    thresholds = np.concatenate(
        [
            np.array(line.removeprefix("threshold=").split(), dtype=float)
            for line in model.text.splitlines()
            if line.startswith("threshold=")
        ]
    )
    # Rows right at the thresholds, on both sides.
    near = thresholds.astype(np.float32)
    sides = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    rows = np.concatenate([near, *sides])
    rows = np.stack([rows, np.zeros_like(rows)], axis=1)

    given = run_session(open_session(model.to_onnx()), rows)

    assert np.abs(given - model.predict(rows)).max() < 1e-5


class _AsksFor:
    """Optuna's trial that answers with an end of every range."""

    def __init__(self, end: int) -> None:
        self._end = end

    def suggest_float(self, _name: str, *ends: float, log: bool = False) -> float:
        return ends[self._end]

    suggest_int = suggest_float


@pytest.mark.parametrize(
    ("cells", "most", "used"),
    [(2_400_000, 2, 1), (9_999_999, 8, 1), (10_000_000, 8, 2), (28_800_000, 2, 2), (0, 4, 1)],
)
def test_a_small_table_is_fitted_by_one_thread_and_a_large_one_by_as_many_as_it_may(
    cells: int, most: int, used: int
) -> None:
    assert useful_threads(cells, most) == used


def test_every_core_is_as_many_as_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 6)

    assert useful_threads(100_000_000, 0) == 6


def test_trees_are_the_same_by_one_thread_and_by_two() -> None:
    data = make_data()
    params = quick("lightgbm") | {"iterations": 20}

    def text(**more: int) -> str:
        return LightGbm().fit(data, None, params | more, task="binary", seed=0, threads=8).text

    alone, together = text(), text(num_threads=2)

    assert alone.count("[num_threads: 1]") == together.count("[num_threads: 2]") == 1
    assert alone.replace("[num_threads: 1]", "[num_threads: 2]") == together


def test_a_cautious_search_stays_with_strong_regularisation_and_a_wide_one_goes_further():
    cautious, wide = LightGbm(), LightGbm("wide")

    def range_of(family, name):
        return family.suggest(_AsksFor(0))[name], family.suggest(_AsksFor(1))[name]

    assert range_of(cautious, "min_child_samples") == (50, 1000)
    assert range_of(wide, "min_child_samples") == (3, 100)
    assert range_of(cautious, "num_leaves") == (15, 47)
    assert range_of(wide, "num_leaves") == (4, 63)
    assert cautious.defaults()["lambda_l2"] == 20.0 > wide.defaults()["lambda_l2"] == 1.0
    assert get_family("lightgbm").defaults() == cautious.defaults()


def test_the_declared_space_is_searched():
    wide = Training(tune={"space": "wide"})

    assert declared_family("lightgbm", wide).defaults()["min_child_samples"] == 5
    assert declared_family("lightgbm", Training()).defaults()["min_child_samples"] == 200


def test_trees_with_thresholds_by_chance_are_not_those_with_the_best():
    best, chance = fit("lightgbm"), fit("extra_trees")

    assert chance.family == "extra_trees"
    assert "[extra_trees: 1]" in chance.text and "[extra_trees: 0]" in best.text


def test_a_wide_search_finds_what_small_leaves_alone_can_tell():
    random = np.random.default_rng(4)
    x = random.uniform(size=(300, 2)).astype(np.float32)
    y = np.sin(12 * x[:, 0].astype(np.float64)) + x[:, 1]
    encoding = Encoding((EncodedColumn("a", "numeric"), EncodedColumn("b", "numeric")))
    data = Dataset(x, y, None, encoding)
    train, held_out = data.take(np.arange(200)), data.take(np.arange(200, 300))

    def error(family) -> float:
        model = family.fit(train, held_out, family.defaults(), task="regression", seed=0, threads=1)
        return float(np.sqrt(np.mean((model.predict(held_out.x)[:, 0] - held_out.y) ** 2)))

    assert error(LightGbm("wide")) < 0.75 * error(LightGbm())


@pytest.mark.parametrize("family", ["linear", "lightgbm", "extra_trees"])
def test_of_few_rows_a_text_of_many_values_tells_too(family: str) -> None:
    random = np.random.default_rng(5)
    codes = np.arange(96) % 8
    values = 10.0 * random.permutation(8)[codes] + random.normal(size=96)
    x = np.stack([codes, random.normal(size=96)], axis=1).astype(np.float32)
    columns = (
        EncodedColumn("sort", "categorical", tuple("ABCDEFGH")),
        EncodedColumn("n", "numeric"),
    )
    data = Dataset(x, values, None, Encoding(columns))
    train, stops, judged = (data.take(np.arange(*part)) for part in ((48,), (48, 72), (72, 96)))
    learner = declared_family(family, Training.model_validate({"tune": {"space": "wide"}}))

    model = learner.fit(train, stops, learner.defaults(), task="regression", seed=0, threads=1)

    errors = np.asarray(model.predict(judged.x)).reshape(-1) - judged.y
    assert np.sqrt((errors**2).mean()) < 0.8 * values.std()


@pytest.mark.parametrize(("rows", "least"), [(2_000, 10), (400, 8), (60, 2)])
def test_a_category_is_rare_with_fewer_than_ten_rows_or_a_fiftieth_of_few(
    rows: int, least: int
) -> None:
    counts = [1, least - 1, least, rows - 2 * least]
    x = np.repeat(np.arange(4), counts)[:, None].astype(np.float32)
    encoding = Encoding((EncodedColumn("c", "categorical", ("a", "b", "c", "d")),))

    prepared = fit_preparation(Dataset(x, np.zeros(rows), None, encoding))

    assert prepared.slots.tolist() == [0, 0, 0, 1, 2]
