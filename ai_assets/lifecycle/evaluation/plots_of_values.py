"""Pictures of predicted numbers, as small PNG files in the style of `plots`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.plots import BLUE, ORANGE, SKY, as_png, new_axes
from ai_assets.lifecycle.evaluation.values import ScoredValues, scored_values
from ai_assets.lifecycle.schema.interval import Interval, spread

_MOST_POINTS = 2000
_GREY = "#8A8A8A"
_BINS = 30
_ALONG = 100
"""Points of the band, whose edge may be a curve."""


def predicted(y: ArrayLike, p: ArrayLike, interval: Interval | None = None) -> bytes:
    """Outcomes against predictions [n], a point a row; a band is the interval, where there is one.

    Beyond 2,000 rows it shows so many, at even distances in the order that they were given.
    """
    rows = scored_values(y, p, interval)
    figure, axes = new_axes(4.6, 4.4, "Predicted", "Actual", "Predicted and actual")
    ends = [float(min(rows.y.min(), rows.p.min())), float(max(rows.y.max(), rows.p.max()))]
    if interval is not None:
        along = np.linspace(ends[0], ends[1], _ALONG)
        low, high = interval.ends(along)
        axes.fill_between(
            along, low, high, color=SKY, alpha=0.25, lw=0, label=_said(rows, interval)
        )
    axes.plot(ends, ends, color=_GREY, linestyle="--", linewidth=1, label="perfect")
    _points(axes, rows.p, rows.y)
    return as_png(figure, axes, legend="upper left")


def residuals(y: ArrayLike, p: ArrayLike, interval: Interval | None = None) -> bytes:
    """A histogram of actual less predicted [n], with their mean; lines are the interval's ends.

    Where the interval widens with the prediction, they are in units of that spread.
    """
    rows = scored_values(y, p, interval)
    scale = None if interval is None else interval.scale
    left = (rows.y - rows.p) / spread(rows.p, scale)
    title = "Actual less predicted" + (", per root of predicted" if scale else "")
    figure, axes = new_axes(5.0, 3.6, title, "Rows", "Residuals")
    axes.hist(left, bins=_BINS, color=BLUE, alpha=0.75)
    mean = float(left.mean())
    axes.axvline(mean, color=ORANGE, linewidth=1.8, label=f"mean {mean:.3g}")
    if interval is not None:
        for end in (-interval.half_width, interval.half_width):
            label = _said(rows, interval) if end > 0 else None
            axes.axvline(end, color=_GREY, linestyle="--", linewidth=1, label=label)
    return as_png(figure, axes, legend="upper right")


def _said(rows: ScoredValues, interval: Interval) -> str:
    return f"{rows.inside.mean():.1%} inside, {interval.coverage:.0%} declared"


def _points(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
    axes.scatter(x[some], y[some], s=10, color=BLUE, alpha=0.5, linewidths=0)
