"""Why one class of several was answered: contributions that add up to what was served."""

from pathlib import Path

import classes_payload as several
import numpy as np
import polars as pl
import pytest
import small_payload as small

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.lightgbm import FAMILY
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.explain import Explainer, Explanation
from ai_assets.serving.scoring import Scorer

ROWS = pl.DataFrame(
    {
        "place": ["EWR", "LGA", "JFK"],
        "distance": [200, 5900, 1400],
        "carrier_age": [10, None, 20],
        "temp": [30.0, 50.0, 70.0],
    }
)


def ratio(probabilities: np.ndarray) -> np.ndarray:
    """The centred log ratio of probabilities [n, K]."""
    logs = np.log(probabilities)
    found: np.ndarray = logs - logs.mean(axis=1, keepdims=True)
    return found


def check_sums(found: list[Explanation], scorer: Scorer) -> None:
    """Base and contributions add up to what is served of the answer."""
    scores = scorer.score_features(ROWS)
    ratios = ratio(scores.predicted)
    for one, label, row in zip(found, scores.label, ratios, strict=True):
        assert one.label == label
        assert one.base + sum(one.contributions.values()) == pytest.approx(one.output)
        assert one.output == pytest.approx(row.max(), abs=2e-3)
        assert one.space == "centred log ratio"
    assert len(set(scores.label)) > 1


def test_sampled_contributions_are_exact_for_a_linear_model(of_classes: Path):
    scorer = Scorer(load_bundle(of_classes / "payload"))

    found = Explainer(scorer).explain_features(ROWS)

    check_sums(found, scorer)
    assert {one.method[:7] for one in found} == {"sampled"}
    # The typical row is JFK, 1000 miles, age 15, 50 degrees. A row's ratio is linear in its
    # features: their weights for the class, less the mean of all, times the temperature.
    factors, _ = several.weights(len(several.CLASSES))
    far = np.array([-1, 200 - 1000, 10 - 15, 30 - 50])
    at = several.CLASSES.index(str(found[0].label))
    own = several.TEMPERATURE * far * (factors[:, at] - factors.mean(axis=1))
    assert list(found[0].contributions.values()) == pytest.approx(own.tolist(), abs=1e-4)


def fitted(folder: Path, keys: Path, calibration: Calibration) -> Scorer:
    """A bundle whose model and trees are LightGBM's, fitted to three classes."""
    random, encoding = np.random.default_rng(0), Encoding.fit(small.FEATURES)
    columns = [
        random.integers(0, 3, 600), random.integers(1, 6000, 600), random.integers(1, 40, 600),
        random.normal(50, 10, 600),
    ]  # fmt: skip
    x = np.column_stack(columns).astype(np.float32)
    y = (x[:, 1] > 2000).astype(float) + ((x[:, 1] > 4000) & (x[:, 2] > 15))
    data = Dataset(x, y, None, encoding)
    settings = {"iterations": 20, "learning_rate": 0.1, "min_child_samples": 5}
    trained = FAMILY.fit(data, None, settings, task="multiclass", seed=1, threads=1)
    small.write_payload(folder)
    trained.save(folder)
    (folder / "model.json").unlink()
    (folder / "model.onnx").write_bytes(trained.to_onnx())
    decision = Decision("multiclass", classes=several.CLASSES)
    (folder / "decision.json").write_text(decision.to_json(), encoding="utf-8")
    (folder / "calibration.json").write_text(calibration.to_json())
    small.Signer(key_path=str(keys / "key.pem")).sign(folder, several.FACTS)
    return Scorer(load_bundle(folder))


@pytest.mark.parametrize("calibration", [Calibration(), Calibration("sigmoid", 0.7)])
def test_contributions_of_trees_are_exact(tmp_path: Path, calibration: Calibration):
    scorer = fitted(tmp_path / "payload", tmp_path, calibration)

    found = Explainer(scorer).explain_features(ROWS)

    check_sums(found, scorer)
    assert [one.method for one in found] == ["exact (TreeSHAP)"] * 3
    sampled = Explainer(scorer)
    sampled.__dict__["_booster"] = None
    check_sums(sampled.explain_features(ROWS), scorer)


def test_a_temperature_is_applied_to_what_is_served(tmp_path: Path):
    plain = fitted(tmp_path / "a", tmp_path, Calibration()).score_features(ROWS).predicted
    sharp = fitted(tmp_path / "b", tmp_path, Calibration("sigmoid", 1.7)).score_features(ROWS)

    powers = plain**1.7
    assert sharp.predicted == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-9)
    assert sharp.probability.tolist() == sharp.predicted.max(axis=1).tolist()
    assert sharp.probability.mean() > plain.max(axis=1).mean()


def test_trees_that_are_not_what_is_served_are_not_believed(tmp_path: Path):
    other = fitted(tmp_path / "other", tmp_path, Calibration())
    folder = several.signed_payload(tmp_path / "payload", tmp_path)
    (folder / "trees.txt").write_text(str(other.bundle.trees))
    (folder / "manifest.json").unlink()
    small.Signer(key_path=str(tmp_path / "key.pem")).sign(folder, several.FACTS)

    found = Explainer(Scorer(load_bundle(folder))).explain_features(ROWS)

    assert {one.method[:7] for one in found} == {"sampled"}
