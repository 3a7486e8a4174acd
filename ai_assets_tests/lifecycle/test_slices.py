"""Metrics of parts of the rows."""

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError, DeclarationError
from ai_assets.lifecycle.evaluation.metrics import metric_value
from ai_assets.lifecycle.evaluation.slices import evaluate_slices, worst_slices


def _scored(size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    p = generator.random(size)
    return (generator.random(size) < p).astype(float), p


def test_each_slice_holds_the_metrics_of_its_own_rows_and_the_difference() -> None:
    y, p = _scored(400)
    origin = np.array(["JFK", "LGA"] * 200)

    found = evaluate_slices(pl.DataFrame({"origin": origin}), y, p, 0.5, ["origin"])

    mine = origin == "LGA"
    auc = metric_value("roc_auc", y[mine], p[mine])
    row = found.row(1, named=True)
    assert found["value"].to_list() == ["JFK", "LGA"]
    assert (row["slice"], row["rows"], row["positives"]) == ("origin", 200, int(y[mine].sum()))
    assert row["roc_auc"] == pytest.approx(auc)
    assert row["roc_auc_difference"] == pytest.approx(auc - metric_value("roc_auc", y, p))


def test_rare_values_are_judged_together_and_no_row_is_lost() -> None:
    y, p = _scored(400)
    carrier = ["UA"] * 280 + ["AA"] * 60 + ["OO"] * 40 + [None] * 20

    found = evaluate_slices(pl.DataFrame({"carrier": carrier}), y, p, 0.5, ["carrier"])

    assert found.select("value", "rows").rows() == [("UA", 280), ("(rest)", 120)]
    assert found["roc_auc"][1] == pytest.approx(metric_value("roc_auc", y[280:], p[280:]))


def test_too_few_rows_are_listed_without_metrics() -> None:
    y, p = _scored(150)
    frame = pl.DataFrame({"carrier": ["UA"] * 140 + ["OO"] * 10})

    found = evaluate_slices(frame, y, p, 0.5, ["carrier"])

    assert found["rows"].to_list() == [140, 10]
    assert found.row(1, named=True)["brier"] is None
    assert found.row(1, named=True)["brier_difference"] is None


def test_missing_values_are_a_slice() -> None:
    y, p = _scored(300)
    frame = pl.DataFrame(
        {"tailnum": [None, "N1", "N2"] * 100, "gust": [float("nan"), 1.0, 2.0] * 100}
    )

    found = evaluate_slices(frame, y, p, 0.5, ["tailnum", "gust"])

    assert found["value"].to_list() == ["(missing)", "N1", "N2", "(missing)", "1.0", "2.0"]


def test_a_number_of_many_values_is_cut_into_fifths() -> None:
    y, p = _scored(1_000)

    found = evaluate_slices(pl.DataFrame({"distance": range(1_000)}), y, p, 0.5, ["distance"])

    assert found["rows"].sum() == 1_000
    assert sorted(found["value"]) == [
        "200 to 400",
        "400 to 599",
        "599 to 799",
        "above 799",
        "up to 200",
    ]


def test_a_slice_of_one_class_has_no_auc_but_has_a_brier_score() -> None:
    _, p = _scored(200)
    y = np.r_[np.zeros(100), np.ones(50), np.zeros(50)]
    frame = pl.DataFrame({"half": [1] * 100 + [2] * 100})

    first = evaluate_slices(frame, y, p, 0.5, ["half"]).row(0, named=True)

    assert first["roc_auc"] is None
    assert first["brier"] == pytest.approx(np.mean(p[:100] ** 2))


def test_the_worst_slices_come_first_in_the_direction_of_the_metric() -> None:
    y = np.array([0.0, 1.0] * 200)
    p = np.r_[np.array([0.1, 0.9] * 100), np.array([0.6, 0.4] * 100)]
    frame = pl.DataFrame({"half": ["good"] * 200 + ["bad"] * 200})

    found = evaluate_slices(frame, y, p, 0.5, ["half"])

    assert worst_slices(found, "roc_auc", 1)["value"].to_list() == ["bad"]
    assert worst_slices(found, "log_loss", 1)["value"].to_list() == ["bad"]


def test_no_slices_give_an_empty_table_with_the_same_columns() -> None:
    y, p = _scored(10)
    frame = pl.DataFrame({"origin": ["JFK"] * 10})

    empty = evaluate_slices(frame, y, p, 0.5, [])

    assert empty.height == 0
    assert empty.columns == evaluate_slices(frame, y, p, 0.5, ["origin"]).columns


def test_an_unknown_slice_column_offers_the_nearest() -> None:
    with pytest.raises(
        DeclarationError, match=r"a slice must be one of .* Did you mean 'origin'\?"
    ):
        evaluate_slices(pl.DataFrame({"origin": ["JFK"]}), [1], [0.5], 0.5, ["orign"])


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"y must be as long as the frame \(1 rows\), but got 2"):
        evaluate_slices(pl.DataFrame({"origin": ["JFK"]}), [1, 0], [0.5, 0.5], 0.5, ["origin"])
