"""The same answer offline, online and by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.query import run_features
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.explain import Explainer
from ai_assets.serving.scoring import Scorer


@pytest.fixture(scope="module")
def scorer(shared: Path) -> Scorer:
    return Scorer(load_bundle(shared / "payload"))


def test_scores_are_those_that_one_computes_by_hand(scorer: Scorer):
    scores = scorer.score_features(small.FEATURES)

    given = np.array([[0, 200, 10, 30], [1, 1400, 20, 50], [2, 2400, 0, 70]])
    expected = 1 / (1 + np.exp(-(0.9 * (given @ small.WEIGHTS) + 0.1)))
    assert scores.probability == pytest.approx(expected, abs=1e-6)
    assert scores.label == ["late" if p >= 0.6 else "not late" for p in expected]
    assert scores.threshold == 0.6


def test_a_graph_that_is_large_within_is_given_few_rows_at_once(shared: Path, scorer: Scorer):
    import onnx
    from onnx import helper

    bundle = load_bundle(shared / "payload")
    model = onnx.load_from_string(bundle.model)
    helper.set_model_props(model, {"numbers_of_a_row": str(1 << 24)})
    large = Scorer(replace(bundle, model=model.SerializeToString()))
    sizes, run = [], large._session.run

    class Watched:
        def run(self, names, given):
            sizes.append(len(given["x"]))
            return run(names, given)

    matrix = np.repeat(bundle.encoding.transform(small.FEATURES), 2, axis=0)[:5]
    assert large._most_rows == 2
    large.__dict__["_session"] = Watched()
    assert (large.probabilities(matrix) == scorer.probabilities(matrix)).all()
    assert sorted(sizes) == [1, 2, 2]


def test_no_rows_give_no_scores(scorer: Scorer):
    scores = scorer.score_features(small.FEATURES.clear())

    assert len(scores.probability) == 0
    assert scores.label == []


def test_a_missing_feature_is_named(scorer: Scorer):
    with pytest.raises(DataError, match="temp"):
        scorer.score_features(small.FEATURES.drop("temp"))


def test_the_server_answers_as_offline_features_do(scorer: Scorer, client: TestClient):
    rows = [{**small.ROW, "place": p, "carrier": c} for p in ("EWR", "LGA") for c in ("UA", "ZZ")]
    server = client.app.state.server  # type: ignore[attr-defined]
    request = server.reader.frame([server.reader.model.model_validate(r) for r in rows])
    bundle = scorer.bundle
    offline = run_features(
        bundle.features_sql,
        request.with_columns(
            pl.int_range(4, dtype=pl.Int64).alias("_row_id"), pl.lit(30).alias("delay")
        ),
        {"weather": small.weather(), **bundle.lookups},
        specs=bundle.tables,
        request_table="trips",
        horizon=bundle.horizon,
    )

    answers = client.post("/predict", json=rows).json()["predictions"]

    expected = scorer.score_features(offline.sort("_row_id")).probability
    assert [a["probability"] for a in answers] == pytest.approx(expected, abs=1e-5)


def test_sampled_contributions_add_up_and_are_exact_for_a_linear_model(scorer: Scorer):
    tables = {"weather": small.weather(70.0)}
    scorer.refresh(tables)
    explainer = Explainer(scorer)
    rows = pl.DataFrame(
        {"due": [small.NOON], "place": ["LGA"], "carrier": ["AA"], "distance": [2000]},
        schema_overrides={"due": pl.Datetime("us", "UTC")},
    )

    (found,) = explainer.explain(rows)

    assert found.base + sum(found.contributions.values()) == pytest.approx(found.output, abs=1e-6)
    probability = scorer.predict(rows).probability[0]
    assert 1 / (1 + np.exp(-found.output)) == pytest.approx(probability, abs=1e-6)
    # The typical row is JFK, 1000 miles, age 15, 50 degrees; the calibration scales by 0.9.
    expected = {"place": 0.36, "distance": 0.45, "carrier_age": 0.27, "temp": -0.18}
    assert found.contributions == pytest.approx(expected, abs=1e-5)


def test_trees_that_are_not_what_is_served_are_not_believed(tmp_path: Path):
    lightgbm = pytest.importorskip("lightgbm")
    folder = small.write_payload(tmp_path / "payload")
    x = np.random.default_rng(0).normal(size=(200, 4))
    data = lightgbm.Dataset(x, label=x[:, 0] > 0)
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 3)
    (folder / "trees.txt").write_text(booster.model_to_string())
    small.Signer(key_path=str(tmp_path / "key.pem")).sign(folder, small.FACTS)
    scorer = Scorer(load_bundle(folder))
    scorer.refresh({"weather": small.weather()})

    (found,) = Explainer(scorer).explain(
        pl.DataFrame(
            {"due": [small.NOON], "place": ["LGA"], "carrier": ["AA"], "distance": [2000]},
            schema_overrides={"due": pl.Datetime("us", "UTC")},
        )
    )

    assert found.method.startswith("sampled")
