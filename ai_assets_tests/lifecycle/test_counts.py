"""Counts: learned by their logarithm, never answered below 0, judged by Poisson deviance."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.recipes import Job
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.compression.tree_students import distil, taught
from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.evaluation.evaluate import evaluate
from ai_assets.lifecycle.evaluation.metrics import METRICS, metric_value
from ai_assets.lifecycle.evaluation.values import constant_errors, scored_values
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.labels import label_rows
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset, loss, poisson_deviances
from ai_assets.lifecycle.learners.blend import BlendModel, pool
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.target import target_of
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.lifecycle.training.conformal import fit_interval
from ai_assets_tests.lifecycle.test_learners import TABULAR, fit, make_data, odd_rows, quick

DECLARED = """
description: How many calls will there be?
request: hours
tables:
  hours:
    source: {csv: hours.csv}
    key: [number]
    columns: {number: {type: int64}, calls: {type: int64, known_at: "NULL"}}
"""


def declared(label: str, **more: object) -> TabularDeclaration:
    parts = {"label": yaml.safe_load(label), **more}
    return TabularDeclaration.model_validate(yaml.safe_load(DECLARED) | parts)


@pytest.mark.parametrize("family", TABULAR)
def test_a_family_learns_the_mean_count_and_is_never_below_zero(family: str):
    model, fresh = fit(family, "count"), make_data("count", seed=5)
    expected = model.predict(fresh.x)[:, 0]
    assert (model.predict(odd_rows()) > 0).all()
    assert expected.mean() == pytest.approx(fresh.y.mean(), rel=0.1)
    always = constant_errors(fresh.y, counts=True)["poisson_deviance"]
    found = metric_value("poisson_deviance", fresh.y, expected)
    assert found is not None and found < 0.95 * always


def test_the_linear_family_is_the_poisson_regression_that_it_says():
    from sklearn.linear_model import PoissonRegressor

    random = np.random.default_rng(0)
    x = random.normal(size=(400, 1))
    y = random.poisson(np.exp(0.3 + 0.8 * x[:, 0]))
    frame = pl.DataFrame({"x": x[:, 0]})
    encoding = Encoding.fit(frame)
    data = Dataset(encoding.transform(frame), y.astype(float), None, encoding)
    model = get_family("linear").fit(data, None, {"c": 1e6}, task="count", seed=0, threads=1)
    peer = PoissonRegressor(alpha=0, tol=1e-8, max_iter=1000).fit(x, y)
    assert model.predict(data.x)[:, 0] == pytest.approx(peer.predict(x), rel=0.02)


def test_a_smaller_forest_of_counts_imitates_and_is_not_below_zero_either():
    data = make_data("count")
    train, validation = data.take(np.arange(1100)), data.take(np.arange(1100, 1500))
    winner = fit("lightgbm", "count")
    job = Job(winner, train, validation, Compression(), "count", 0, 1)
    student = distil(job, taught(job), 31)
    graph = run_session(open_session(student.to_onnx()), odd_rows())
    assert (graph > 0).all()
    assert graph == pytest.approx(student.predict(odd_rows()), rel=1e-4)
    near = np.corrcoef(student.predict(validation.x)[:, 0], winner.predict(validation.x)[:, 0])
    assert near[0, 1] > 0.9


def test_pooled_counts_are_the_mean_of_logarithms_and_so_says_the_graph():
    assert pool("count", [np.array([[2.0]]), np.array([[8.0]])], [0.5, 0.5])[0, 0] == 4.0
    blend = BlendModel("count", [fit(name, "count") for name in ("linear", "lightgbm")], [0.4, 0.6])
    given = run_session(open_session(blend.to_onnx()), odd_rows())
    assert given == pytest.approx(blend.predict(odd_rows()), rel=1e-4)


def test_the_deviance_is_that_of_scikit_learn_and_undefined_of_what_is_no_count():
    from sklearn.metrics import mean_poisson_deviance

    random = np.random.default_rng(1)
    p = random.uniform(0.1, 9, 500)
    y = random.poisson(p).astype(float)
    expected = mean_poisson_deviance(y, p)
    assert metric_value("poisson_deviance", y, p) == pytest.approx(expected)
    assert loss("count", y, p[:, None], None) == pytest.approx(expected)
    assert poisson_deviances(np.zeros(1), np.array([3.0])).tolist() == [6.0]
    assert metric_value("poisson_deviance", np.array([-1.0, 2.0]), np.array([1.0, 2.0])) is None
    assert METRICS["poisson_deviance"].undefined.startswith("undefined: an outcome is below 0")


def test_an_evaluation_of_counts_begins_with_their_deviance_others_have_none():
    y, p = np.array([0.0, 1.0, 4.0, 2.0]), np.array([0.5, 1.0, 3.0, 2.0])
    frame = pl.DataFrame({"row": range(4)})
    counts = evaluate(frame, y, p, 0.5, seed=0, values=True, counts=True)
    assert next(iter(counts.metrics)) == "poisson_deviance"
    assert counts.constant["poisson_deviance"] > counts.metrics["poisson_deviance"].value
    plain = evaluate(frame, y, p, 0.5, seed=0, values=True)
    assert "poisson_deviance" not in plain.metrics and set(plain.constant) == {"rmse", "mae"}


def test_an_interval_of_counts_ends_at_zero_and_widens_with_the_root_of_the_answer():
    p = np.resize([1.0, 4.0, 25.0], 39)
    y = p + np.resize([1.0, -2.0, 5.0], 39) * np.linspace(0.1, 2.0, 39)  # per root: 0.1 to 2
    found = fit_interval(y, p, 0.9, counts=True)
    assert found.half_width == pytest.approx(np.linspace(0.1, 2.0, 39)[36 - 1])
    low, high = found.ends(np.array([0.0, 1.0, 100.0]))
    w = found.half_width
    assert low == pytest.approx([0.0, 0.0, 100 - 10 * w], abs=1e-3)
    assert high == pytest.approx([0.0, 1 + w, 100 + 10 * w], abs=1e-3)
    rows = scored_values(np.array([1.0, 100.0]), np.array([1.0, 100.0]), found)
    width = METRICS["interval_width"].compute(rows, np.ones((1, 2)))[0]
    assert width == pytest.approx((1 + w + 20 * w) / 2)
    assert " times the prediction's root of it, measured on 39 rows" in str(found)
    decision = Decision("regression", classes=(), interval=found)
    assert Decision.from_json(decision.to_json()) == decision
    plain = Decision("regression", classes=(), interval=Interval(0.9, 3.0, 40))
    assert "floor" not in plain.to_json() and "scale" not in plain.to_json()
    assert Decision.from_json(plain.to_json()) == plain
    with pytest.raises(
        DataError, match="scale of an interval must be one of 'root', but got 'log'"
    ):
        Interval(0.9, 3.0, 40, scale="log")  # type: ignore[arg-type]


def test_of_poisson_counts_the_interval_holds_as_many_of_small_as_of_large_ones():
    """Of one width it holds nearly all of the small ones, and far too few of the large ones."""
    luck = np.random.default_rng(0)

    def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
        means = np.exp(luck.uniform(np.log(0.3), np.log(40), rows))
        return luck.poisson(means).astype(float), means

    def coverage_by_bin(interval: Interval) -> np.ndarray:
        y, p = drawn(60_000)
        inside = scored_values(y, p, interval).inside
        fifths = np.searchsorted(np.quantile(p, [0.2, 0.4, 0.6, 0.8]), p)
        return np.array([inside[fifths == part].mean() for part in range(5)])

    y, p = drawn(4_000)
    found = coverage_by_bin(fit_interval(y, p, 0.9, counts=True))
    one_width = coverage_by_bin(fit_interval(y, p, 0.9))

    # Small counts are few whole numbers, so that no interval holds exactly nine tenths of them.
    assert (np.abs(found - 0.9) < 0.04).all(), found
    assert one_width[0] > 0.99 and one_width[-1] < 0.7
    assert found.mean() == pytest.approx(one_width.mean(), abs=0.015)


def test_counts_are_a_regression_that_is_learned_and_judged_in_its_own_way():
    given = declared("{sql: calls, task: regression, objective: poisson}")
    assert (given.label.task, given.label.learned) == ("regression", "count")
    assert given.training.metric_for(given.label.learned) == "poisson_deviance"
    limit = {"gate": {"max": {"poisson_deviance": 1.5}}}
    assert declared("{sql: calls, task: regression, objective: poisson}", **limit)
    with pytest.raises(ValidationError, match="poisson_deviance"):
        declared("{sql: calls, task: regression}", **limit)
    with pytest.raises(ValidationError, match="objective belongs to task 'regression'"):
        declared("{sql: calls > 3, objective: poisson}")
    with pytest.raises(ValidationError, match="'squared' or 'poisson'"):
        declared("{sql: calls, task: regression, objective: poison}")


def test_what_is_below_zero_is_no_count():
    rows = pl.DataFrame({"_row_id": [1, 2], "calls": [3, -1]})
    asked = {"values": True, "counts": True}
    with pytest.raises(DeclarationError, match="numbers from 0 on, or null, but 'calls' gave -1"):
        label_rows(rows, "calls", None, None, **asked)
    assert label_rows(rows, "calls + 1", None, None, **asked)["label"].to_list() == [4, 0]
    data = make_data("count")
    with pytest.raises(DataError, match="counts must be 0 or more, but got -1"):
        get_family("linear").fit(
            replace(data, y=data.y - 1 - data.y.min()), None, quick("linear"),
            task="count", seed=0, threads=1,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "objective"),
    [
        (list(range(15)) + [0, 1, 2, 3] * 40, "poisson"),
        ([value + 0.5 for value in range(15)] + [0.5] * 40, None),
        (list(range(-1, 15)) + [1] * 40, None),
        ([18 + at % 60 for at in range(300)], None),
    ],
    ids=["calls", "halves", "below zero", "ages"],
)
def test_a_target_of_small_whole_numbers_is_proposed_as_counts(values, objective):
    kind = "float64" if isinstance(values[0], float) else "int64"
    found = target_of("calls", Typed(kind, pl.Series("calls", values)))
    assert found.task == "regression"
    assert found.label.get("objective") == objective
    assert ("counts of something" in found.reason) == (objective is not None)
