"""Pictures of a product in operation."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.evaluation.plots import (
    BLUE,
    GREEN,
    ORANGE,
    PINK,
    as_png,
    new_axes,
)
from ai_assets.lifecycle.operations.policies import LOOP

_LINES = {
    LOOP: (BLUE, "-", "o", 2.2),
    "never": (ORANGE, "--", "s", 1.4),
    "rolling": (GREEN, "-.", "^", 1.4),
    "expanding": (PINK, ":", "v", 1.4),
}
MOST_COLUMNS = 30


def loss_name(metric: str) -> str:
    """What a loss is called within a sentence."""
    title = get_metric(metric).title
    return title if title.isupper() else title.lower()


def losses(monthly: pl.DataFrame) -> bytes:
    """The loss by partition, a line a policy, as a PNG; the loop's interval is a band.

    Args:
        monthly: as `policies.monthly_losses` makes it; its third column is the loss.
    """
    metric = monthly.columns[2]
    name_of = loss_name(metric)
    figure, axes = new_axes(9.0, 3.8, "", name_of, f"Realised {name_of} by policy")
    keys = monthly["partition"].unique(maintain_order=True).to_list()
    places = np.arange(len(keys))
    for name in monthly["policy"].unique(maintain_order=True):
        own = monthly.filter(pl.col("policy") == name)
        colour, style, mark, width = _LINES.get(name, (BLUE, "-", ".", 1.2))
        axes.plot(places, own[metric], color=colour, ls=style, marker=mark, lw=width, label=name)
        if name == LOOP:
            axes.fill_between(
                places,
                own["low"].to_numpy(),
                own["high"].to_numpy(),
                color=colour,
                alpha=0.15,
                lw=0,
            )
    axes.set_xticks(places, keys, rotation=30, ha="right")
    return as_png(figure, axes, legend="best")


def drift_map(numbers: pl.DataFrame, limit: float) -> bytes:
    """PSI of each column in each partition as a map of colours, the most drifted columns on top.

    Args:
        numbers: `partition`, `column`, `psi`.
        limit: the PSI from which a column has drifted; the colour there is half way.
    """
    worst = numbers.group_by("column").agg(pl.col("psi").max()).sort("psi", descending=True)
    names = worst["column"].head(MOST_COLUMNS).to_list()
    keys = numbers["partition"].unique().sort().to_list()
    grid = np.full((len(names), len(keys)), np.nan)
    for key, name, psi in numbers.select("partition", "column", "psi").iter_rows():
        if name in names and psi is not None:
            grid[names.index(name), keys.index(key)] = psi
    figure, axes = new_axes(
        9.0, 1.2 + 0.24 * len(names), "", "", f"PSI by column (limit {limit:g})"
    )
    picture = axes.imshow(grid, aspect="auto", cmap="YlOrRd", vmin=0, vmax=2 * limit)
    axes.set_xticks(np.arange(len(keys)), keys, rotation=30, ha="right")
    axes.grid(visible=False)
    axes.set_yticks(np.arange(len(names)), names, fontsize=7)
    figure.colorbar(picture, ax=axes, fraction=0.03)
    return as_png(figure, axes, legend=None)
