"""What candidates cost and what they are worth, as one picture."""

from collections.abc import Collection, Sequence
from typing import Any

from ai_assets.lifecycle.compression.candidates import Measurement
from ai_assets.lifecycle.evaluation.plots import as_png, new_axes

_MARGIN = 1.6
"""By which the axis of sizes goes beyond the smallest and the largest, for their names."""


def frontier(measured: Sequence[Measurement]) -> list[str]:
    """Names of those that no other beats: as small, as quick and as good, and better in one."""

    def costs(m: Measurement) -> tuple[float, float, float]:
        return (m.size, m.p50, m.metric_loss)

    def beaten(m: Measurement) -> bool:
        others = [costs(other) for other in measured if other.name != m.name]
        return any(
            all(a <= b for a, b in zip(other, costs(m), strict=True)) and other != costs(m)
            for other in others
        )

    return [m.name for m in measured if not beaten(m)]


def pareto(measured: Sequence[Measurement], metric: str, served: str) -> bytes:
    """Size against loss, the time of a row as colour; what no other beats is named.

    Args:
        measured: the candidates.
        metric: what the loss is a loss of.
        served: name of the chosen one, which is ringed.
    """
    best = frontier(measured)
    figure, axes = new_axes(7.2, 4.2, "size in kB", f"{metric}: loss", "Size, loss and latency")
    sizes = [m.size / 1e3 for m in measured]
    losses = [m.metric_loss for m in measured]
    times = [m.p50 * 1e3 for m in measured]
    shown = axes.scatter(sizes, losses, c=times, cmap="viridis_r", norm="log", s=46, zorder=3)
    figure.colorbar(shown, ax=axes, label="µs a row (median)")
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / _MARGIN, max(sizes) * _MARGIN)
    _named(axes, [m for m in measured if m.name in {*best, served}])
    for m in measured:
        if m.name == served:
            ring = {"facecolors": "none", "edgecolors": "#D55E00", "linewidths": 2.0}
            axes.scatter([m.size / 1e3], [m.metric_loss], s=160, zorder=4, label="served", **ring)
    return as_png(figure, axes, "upper right")


def _named(axes: Any, measured: Collection[Measurement]) -> None:
    for m in measured:
        axes.annotate(
            m.name,
            (m.size / 1e3, m.metric_loss),
            xytext=(5, 5),
            textcoords="offset points",
            fontsize=7,
        )
