"""The picture of groups: each rate of each group, with its interval."""

import polars as pl

from ai_assets.lifecycle.evaluation.plots import BLUE, GREEN, ORANGE, as_png, new_axes
from ai_assets.lifecycle.fairness.judge import Judged

_DRAWN = {
    "selection_rate": (BLUE, "o"),
    "true_positive_rate": (GREEN, "s"),
    "false_positive_rate": (ORANGE, "D"),
}


def groups(judged: Judged) -> bytes:
    """Rates from 0 to 1 across, a line a group; whiskers are 95 % intervals."""
    known = judged.groups.filter(pl.col("selection_rate").is_not_null())
    height = 1.3 + 0.5 * max(1, known.height)
    figure, axes = new_axes(6.4, height, "Rate", "", "Groups of people")
    for number, (rate, (colour, mark)) in enumerate(_DRAWN.items()):
        for place, row in enumerate(known.iter_rows(named=True)):
            value, low, high = row[rate], row[f"{rate}_low"], row[f"{rate}_high"]
            if value is None:
                continue
            at = place + 0.2 * (number - 1)
            label = rate.replace("_", " ") if place == 0 else None
            axes.plot([value], [at], mark, color=colour, markersize=6, label=label)
            if low is not None:
                axes.plot([low, high], [at, at], color=colour, linewidth=1.4)
    names = [f"{c} = {g}" for c, g in known.select("column", "group").iter_rows()]
    axes.set_yticks(range(known.height), names, fontsize=8.5)
    axes.set(xlim=(-0.01, 1.01), ylim=(known.height - 0.4, -0.6))
    axes.grid(False, axis="y")
    return as_png(figure, axes, legend="lower right")
