"""Pictures of a model, as small PNG files.

Drawn with matplotlib's objects on the Agg canvas: `pyplot` would keep figures in process-wide state
that parallel steps share. Colours are Okabe and Ito's, which colour-blind people can tell apart;
where two lines matter they differ in style too.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.binary import scored_binary
from ai_assets.lifecycle.evaluation.classes import scored_classes
from ai_assets.lifecycle.evaluation.metrics import metric_value
from ai_assets.lifecycle.schema.decision import CostMatrix

BLUE, ORANGE, GREEN, PINK, SKY, RED = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00",
)  # fmt: skip
_CYCLE = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
_GREY = "#8A8A8A"
_INK = "#222222"

_DPI = 110
_MOST_BARS = 20
_MOST_POINTS = 400
_COLOURS = 96


def as_markdown_image(png: bytes, alt: str) -> str:
    """A Markdown image that carries its own bytes."""
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def roc(y: ArrayLike, p: ArrayLike) -> bytes:
    """True against false positive rate at every threshold, of labels and scores [n]."""
    rows = scored_binary(y, p)
    labels = rows.y[::-1]
    ends = np.r_[np.flatnonzero(np.diff(rows.p[::-1])), len(labels) - 1]
    true = np.r_[0.0, np.cumsum(labels)[ends]]
    false = np.r_[0.0, np.cumsum(1 - labels)[ends]]
    figure, axes = _square("False positive rate", "True positive rate", "ROC curve")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="guessing")
    if true[-1] and false[-1]:
        _line(axes, false / false[-1], true / true[-1], _titled("AUC", "roc_auc", y, p))
    else:
        _say(axes, "one class only")
    return as_png(figure, axes)


def pr(y: ArrayLike, p: ArrayLike) -> bytes:
    """Precision against recall at every threshold, of labels and scores [n]."""
    rows = scored_binary(y, p)
    labels = rows.y[::-1]
    ends = np.r_[np.flatnonzero(np.diff(rows.p[::-1])), len(labels) - 1]
    true = np.cumsum(labels)[ends]
    share = float(labels.mean())
    figure, axes = _square("Recall", "Precision", "Precision and recall")
    axes.plot([0, 1], [share, share], color=_GREY, linestyle="--", linewidth=1, label="guessing")
    if share:
        recall, precision = true / true[-1], true / (ends + 1)
        _line(axes, recall, precision, _titled("average precision", "pr_auc", y, p))
    else:
        _say(axes, "no positive")
    return as_png(figure, axes)


def calibration(y: ArrayLike, p: ArrayLike) -> bytes:
    """Share of positives against mean score in bins of equal mass, over a histogram of scores."""
    rows = scored_binary(y, p)
    sizes = np.diff(np.r_[rows.bins, len(rows.p)])
    said = np.add.reduceat(rows.p, rows.bins) / sizes
    seen = np.add.reduceat(rows.y, rows.bins) / sizes
    figure, axes = _square("Mean score", "Share of positives", "Calibration")
    counts, edges = np.histogram(rows.p, bins=25, range=(0, 1))
    height = 0.18 * counts / max(1, counts.max())
    axes.bar(edges[:-1], height, 1 / 25, align="edge", color=SKY, alpha=0.4, label="rows by score")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    error = 1.96 * np.sqrt(seen * (1 - seen) / sizes)
    axes.errorbar(
        said,
        seen,
        error,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.8,
        elinewidth=1,
        capsize=2,
        label=_titled("error", "calibration_error", y, p),
    )
    return as_png(figure, axes, legend="upper left")


def confusion(
    y: ArrayLike, p: ArrayLike, threshold: float, classes: Sequence[str] = ("no", "yes")
) -> bytes:
    """Counts of label by prediction at the threshold; colours are shares of each label's rows.

    `classes` names the labels 0 and 1, in this order.
    """
    rows = scored_binary(y, p, threshold)
    counts = np.zeros((2, 2))
    np.add.at(counts, (rows.y.astype(int), rows.predicted.astype(int)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = new_axes(4.4, 4.0, "Predicted", "Actual", f"Predictions at {threshold:.3g}")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    axes.set_xticks([0, 1], [str(name) for name in classes])
    axes.set_yticks([0, 1], [str(name) for name in classes], rotation=90, va="center")
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{counts[row, column]:,.0f}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=12,
            color="white" if share > 0.55 else _INK,
        )
    return as_png(figure, axes, legend=None)


def confidence(y: ArrayLike, p: ArrayLike) -> bytes:
    """Share of right answers against their probability, of classes [n] and probabilities [n, K]."""
    rows = scored_classes(y, np.asarray(p, dtype=np.float64))
    return calibration(rows.hit, rows.p.max(axis=1))


def confusion_of_classes(
    y: ArrayLike, p: ArrayLike, classes: Sequence[str], costs: CostMatrix | None = None
) -> bytes:
    """Shares of each class's rows by answer; beyond 20 classes those that are mistaken most often.

    Args:
        y: Numbers of the classes [n].
        p: Probabilities [n, K].
        classes: Their names, K.
        costs: What answers cost, where they follow from that.
    """
    rows = scored_classes(y, np.asarray(p, dtype=np.float64), costs)
    counts = rows.actual.T @ rows.answered
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    some = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_BARS])
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(some, some)]
    size = 2.2 + 0.32 * len(some)
    left_out = "" if len(some) == len(counts) else f" ({len(some)} of {len(counts)} classes)"
    figure, axes = new_axes(size, size, "Predicted", "Actual", f"Predictions{left_out}")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    names = [str(classes[place]) for place in some]
    axes.set_xticks(range(len(some)), names, rotation=90, fontsize=7.5)
    axes.set_yticks(range(len(some)), names, fontsize=7.5)
    for (row, column), share in np.ndenumerate(shares):
        if number := counts[some[row], some[column]]:
            ink = "white" if share > 0.55 else _INK
            axes.text(column, row, f"{number:.0f}", ha="center", va="center", fontsize=7, color=ink)
    return as_png(figure, axes, legend=None)


def importances(shares: Mapping[str, float]) -> bytes:
    """How much each feature matters, the largest first; beyond 20, the rest is summed."""
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    shown = ranked[:_MOST_BARS]
    if rest := ranked[_MOST_BARS:]:
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    return _bars(dict(shown), "Share of importance", "What the model looks at")


def learning_curve(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> bytes:
    """Loss over the steps of training, a colour a family.

    Args:
        curves: Per family its steps: `step` (default: its position) and any of `train` (dashed),
            `validation` (solid) or other losses (solid).
    """
    figure, axes = new_axes(6.0, 3.6, "Step", "Loss", "Learning curve")
    drawn = False
    for place, (family, curve) in enumerate(curves.items()):
        for part in sorted({name for row in curve for name in row} - {"step"}):
            points = [
                (row.get("step", at), row[part]) for at, row in enumerate(curve) if part in row
            ]
            steps, values = _thinned(np.array(points, dtype=float))
            style = "--" if part == "train" else "-"
            mark = "o" if len(steps) == 1 else None
            colour = _CYCLE[place % len(_CYCLE)]
            axes.plot(
                steps, values, style, marker=mark, color=colour, lw=1.8, label=f"{family}: {part}"
            )
            drawn = True
    if not drawn:
        _say(axes, "this family is not fitted in steps")
    return as_png(figure, axes, legend="best" if drawn else None)


def trials(values: Mapping[str, ArrayLike]) -> bytes:
    """Tuning: each trial's value as a dot and the best so far (the least) as a line, per family.

    `values` holds each family's trials in order; NaN for one that was given up.
    """
    figure, axes = new_axes(6.0, 3.6, "Trial", "Loss on validation", "Search for parameters")
    for place, (family, found) in enumerate(values.items()):
        losses = np.asarray(found, dtype=float)
        number = np.arange(1, len(losses) + 1)
        colour = _CYCLE[place % len(_CYCLE)]
        axes.scatter(number, losses, s=22, color=colour, alpha=0.55, linewidths=0)
        best = np.fmin.accumulate(losses) if len(losses) else losses
        axes.step(number, best, where="post", color=colour, linewidth=1.8, label=f"{family}: best")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return as_png(figure, axes, legend="best" if values else None)


def drift(numbers: pl.DataFrame, limit: float) -> bytes:
    """The psi of each column of a drift table; drifted columns stand out by colour and by mark."""
    known = numbers.filter(pl.col("psi").is_not_null()).sort("psi", descending=True)
    known = known.head(_MOST_BARS)
    marked = {
        f"{'▲ ' if drifted else ''}{name}": value
        for name, value, drifted in known.select("column", "psi", "drifted").iter_rows()
    }
    colours = [RED if drifted else BLUE for drifted in known["drifted"]]
    return _bars(marked, "Population stability index", "Drift (▲ drifted)", colours, limit)


def _bars(
    values: Mapping[str, float],
    label: str,
    title: str,
    colours: Sequence[str] | None = None,
    limit: float | None = None,
) -> bytes:
    """Horizontal bars, the first on top, each with its value."""
    figure, axes = new_axes(6.0, 1.3 + 0.26 * max(1, len(values)), label, "", title)
    places = np.arange(len(values))
    bars = axes.barh(places, list(values.values()), color=colours or BLUE, height=0.72)
    axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8, color=_INK)
    axes.set_yticks(places, list(values), fontsize=8.5)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    if limit is not None:
        axes.axvline(limit, color=_INK, linestyle="--", linewidth=1, label=f"limit {limit:g}")
    return as_png(figure, axes, legend="lower right" if limit is not None else None)


def new_axes(width: float, height: float, x: str, y: str, title: str) -> tuple[Any, Any]:
    """An empty figure of that size in inches and its axes, in the house's style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11.5, loc="left", color=_INK, fontweight="bold")
    axes.set_xlabel(x, fontsize=9.5)
    axes.set_ylabel(y, fontsize=9.5)
    axes.tick_params(labelsize=8.5, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.grid(True, color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _square(x: str, y: str, title: str) -> tuple[Any, Any]:
    """Axes from 0 to 1 both ways."""
    figure, axes = new_axes(4.6, 4.4, x, y, title)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    return figure, axes


def _titled(words: str, metric: str, y: ArrayLike, p: ArrayLike) -> str:
    value = metric_value(metric, y, p)
    return words if value is None else f"{words} {value:.3f}"


def _line(axes: Any, x: np.ndarray, y: np.ndarray, label: str) -> None:
    x, y = _thinned(np.column_stack([x, y]))
    axes.plot(x, y, color=BLUE, linewidth=2, label=label)


def _thinned(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 400 of the points [n, 2], ends kept: more cannot be seen, and cost time."""
    keep = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).astype(int))
    return points[keep, 0], points[keep, 1]


def _say(axes: Any, words: str) -> None:
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=_GREY, fontsize=11)


def as_png(figure: Any, axes: Any, legend: str | None = "lower right") -> bytes:
    """The drawn figure as a small PNG."""
    if legend is not None and axes.get_legend_handles_labels()[0]:
        axes.legend(loc=legend, fontsize=8.5, frameon=False)
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    # A palette makes the file a third: a drawing has few colours, and pages hold many drawings.
    written = io.BytesIO()
    small = image.quantize(_COLOURS, dither=Image.Dither.NONE)
    small.save(written, "PNG", optimize=True)
    return written.getvalue()
