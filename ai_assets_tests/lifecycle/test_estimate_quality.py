"""How far estimates were off, beside the last realised value carried forward, and the picture."""

import io

import numpy as np
import pytest
from PIL import Image

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.estimation.plot import estimates
from ai_assets.lifecycle.estimation.quality import Told, estimate_quality, history, widened
from ai_assets.lifecycle.evaluation.bootstrap import Estimate

TOLD = [
    Told("2013-04", Estimate(0.74, 0.72, 0.76), Estimate(0.73, 0.71, 0.75)),
    Told("2013-05", Estimate(0.74, 0.72, 0.76), Estimate(0.75, 0.73, 0.77)),
    Told("2013-06", Estimate(0.72, 0.70, 0.74), Estimate(0.60, 0.58, 0.62), valid=False),
    Told("2013-07", Estimate(0.71, 0.69, 0.73)),
]


def test_the_history_carries_forward_what_was_known() -> None:
    rows = history(TOLD)

    assert rows["carried"].to_list() == [None, 0.73, 0.75, 0.60]
    assert rows["realised"].to_list() == [0.73, 0.75, 0.60, None]
    assert rows["valid"].to_list() == [True, True, False, True]
    assert history(TOLD, delay=2)["carried"].to_list() == [None, None, 0.73, 0.75]


def test_errors_are_means_over_partitions_that_have_all_three() -> None:
    found = estimate_quality("roc_auc", TOLD)

    assert found.partitions == 2
    assert found.error == pytest.approx((0.01 + 0.12) / 2)
    assert found.carried_error == pytest.approx((0.02 + 0.15) / 2)
    assert found.worst == pytest.approx(0.12)
    assert found.within == 0.5
    assert found.better
    assert str(found) == (
        "Over 2 partitions the estimate of roc_auc was off by 0.0650, the last realised value by "
        "0.0850."
    )


def test_estimates_that_lose_to_the_value_carried_forward_are_not_better() -> None:
    steady = [Told(str(i), Estimate(0.8), Estimate(0.7)) for i in range(3)]

    found = estimate_quality("roc_auc", steady)

    assert (found.error, found.carried_error) == (pytest.approx(0.1), 0)
    assert not found.better
    assert found.within is None


def test_nothing_to_compare_is_said() -> None:
    found = estimate_quality("brier", TOLD[3:])

    assert found.partitions == 0
    assert not found.better
    assert str(found) == "No partition has an estimate of brier, a guess and a realised value."
    assert estimate_quality("brier", []).partitions == 0


def test_an_interval_is_widened_by_what_earlier_estimates_were_off_by() -> None:
    found = widened("roc_auc", Estimate(0.71, 0.69, 0.73), TOLD)

    off = 1.96 * np.sqrt((0.01**2 + 0.01**2 + 0.12**2) / 3)
    assert found.value == 0.71
    assert found.low == pytest.approx(0.71 - np.hypot(0.02, off))
    assert found.high == pytest.approx(0.71 + np.hypot(0.02, off))


def test_an_interval_is_kept_in_the_metrics_range_and_without_two_past_errors_as_it_is() -> None:
    given = Estimate(0.98, 0.96, 0.99)

    assert widened("roc_auc", given, TOLD).high == 1
    assert widened("brier", Estimate(0.02, 0.01, 0.03), TOLD).low == 0
    assert widened("roc_auc", given, TOLD[:1]) == given
    assert widened("roc_auc", given, TOLD[3:]) == given
    assert widened("roc_auc", Estimate(0.98), TOLD) == Estimate(0.98)


def test_a_delay_of_nothing_is_refused() -> None:
    with pytest.raises(DeclarationError, match="delay must be 1 or more, but got 0"):
        history(TOLD, delay=0)


def red_pixels(png: bytes) -> int:
    """Pixels of the pale red that marks concept drift."""
    red, green, blue = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).transpose(2, 0, 1)
    pale = (red > 240) & (green > 200) & (green < 235) & (blue > 190) & (blue < 225)
    return int(pale.sum())


def test_the_picture_is_a_small_png_that_marks_confirmed_concept_drift() -> None:
    marked = estimates(history(TOLD), "roc_auc")
    plain = estimates(history(TOLD[:2]), "roc_auc")

    assert marked.startswith(b"\x89PNG")
    assert len(marked) < 60_000
    assert red_pixels(marked) > 1_000
    assert red_pixels(plain) < 50
    assert Image.open(io.BytesIO(marked)).size == (770, 396)


def test_pictures_are_drawn_of_one_partition_and_of_many_without_labels() -> None:
    many = [Told(f"day {place}", Estimate(0.7)) for place in range(60)]

    assert estimates(history(TOLD[3:]), "log_loss").startswith(b"\x89PNG")
    assert estimates(history(many), "accuracy").startswith(b"\x89PNG")
