"""Pictures of what a model of items mistakes, and of what it withstands."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.evaluation.plots import as_png, new_axes
from ai_assets.lifecycle.evaluation.robustness import Robustness
from ai_assets.lifecycle.features.images import pixels

_ACROSS = 6
_MARKS = "osD^vP*X"


@dataclass(frozen=True)
class Mistake:
    """An item with another answer than it should have.

    Attributes:
        item: the picture (uint8) or the text.
        actual: what it is.
        answered: what the model says.
        probability: how sure the model is of that.
        of: how many of the rows are mistaken in the same way.
    """

    item: bytes | str
    actual: str
    answered: str
    probability: float
    of: int


def mistakes(found: Sequence[Mistake], shape: tuple[int, ...], title: str) -> bytes:
    """The pictures themselves, each above what it is, what was answered, and how surely."""
    down = max(-(-len(found) // _ACROSS), 1)
    figure, axes = new_axes(1.25 * _ACROSS, 1.75 * down + 0.4, "", "", title)
    axes.set(xlim=(0, _ACROSS), ylim=(down, 0), xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    for place, mistake in enumerate(found):
        row, column = divmod(place, _ACROSS)
        assert isinstance(mistake.item, bytes)
        drawn = pixels([mistake.item], shape)[0]
        grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if shape[2] == 1 else {}
        box = (column + 0.08, row + 0.02, 0.84, 0.66)
        inner = axes.inset_axes(box, transform=axes.transData)
        inner.imshow(drawn[:, :, 0] if shape[2] == 1 else drawn, **grey, interpolation="nearest")
        inner.set(xticks=[], yticks=[])
        said = f"{mistake.actual} read as {mistake.answered}\n{mistake.probability:.0%} sure"
        axes.text(column + 0.5, row + 0.72, said, ha="center", va="top", fontsize=8)
    if not found:
        axes.text(_ACROSS / 2, 0.5, "no mistakes", ha="center", fontsize=11)
    return as_png(figure, axes, legend=None)


def robustness(found: Robustness) -> bytes:
    """Accuracy by severity, a line a corruption; 0 is without any."""
    figure, axes = new_axes(
        6.2, 3.8, "Severity", "Accuracy", f"Under corruptions ({found.rows} rows)"
    )
    for place, (name,) in enumerate(
        found.curve.select("corruption").unique(maintain_order=True).iter_rows()
    ):
        own = found.curve.filter(found.curve["corruption"] == name).sort("severity")
        steps = np.r_[0, own["severity"].to_numpy()]
        values = np.r_[found.clean, own["accuracy"].to_numpy()]
        mark = _MARKS[place % len(_MARKS)]
        axes.plot(
            steps, values, marker=mark, markersize=5, linewidth=1.6, label=name.replace("_", " ")
        )
    axes.set_ylim(0, 1.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return as_png(figure, axes, legend="lower left")
