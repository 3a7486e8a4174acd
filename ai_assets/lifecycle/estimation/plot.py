"""The picture of estimates over time."""

from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.evaluation.plots import BLUE, GREEN, ORANGE, RED, as_png, new_axes


def estimates(history: pl.DataFrame, metric: str) -> bytes:
    """Estimate, realised value and the one carried forward, a point a partition, as a PNG.

    Bands are intervals. A stripe marks partitions where concept drift is confirmed, so that
    the estimate cannot be right.

    Args:
        history: As `quality.history` makes it, of one partition at least.
        metric: Name of the metric.
    """
    title = get_metric(metric).title
    figure, axes = new_axes(7.0, 3.6, "", title, f"{title} before and after labels")
    places = np.arange(history.height)
    for at, place in enumerate(np.flatnonzero(~history["valid"].to_numpy())):
        label = "concept drift: no estimate holds" if not at else None
        axes.axvspan(place - 0.5, place + 0.5, color=RED, alpha=0.15, linewidth=0, label=label)
    _with_band(axes, places, history, "estimate", BLUE, "o", "estimate, without labels")
    _with_band(axes, places, history, "realised", GREEN, "s", "realised")
    axes.plot(
        places,
        _numbers(history, "carried"),
        color=ORANGE,
        linestyle=":",
        marker="^",
        markersize=4,
        linewidth=1.4,
        label="last realised, carried forward",
    )
    step = max(1, -(-history.height // 12))
    axes.set_xticks(places[::step], history["partition"].to_list()[::step], rotation=30, ha="right")
    axes.set_xlim(-0.5, history.height - 0.5)
    return as_png(figure, axes, legend="best")


def _with_band(
    axes: Any, places: np.ndarray, history: pl.DataFrame, name: str, colour: str, mark: str,
    label: str,
) -> None:  # fmt: skip
    low, high = _numbers(history, f"{name}_low"), _numbers(history, f"{name}_high")
    axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(places, _numbers(history, name), color=colour, marker=mark, ms=5, lw=1.8, label=label)


def _numbers(history: pl.DataFrame, name: str) -> np.ndarray:
    """The column as float64 [n], NaN where there is no value: lines have a gap there."""
    return history[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
