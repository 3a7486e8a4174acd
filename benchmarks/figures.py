"""What every benchmark prints: what was measured, against what, and whether the goal is met."""

from dataclasses import dataclass

_JUDGED = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True)
class Figure:
    """One measured figure, ours beside the other side's; without a goal it is told, not judged."""

    name: str
    ours: str
    other: str
    ratio: float | None
    goal: str = ""
    met: bool | None = None


def report(figures: list[Figure]) -> int:
    """Print the figures as a table; 1 if a goal is unmet, else 0."""
    rows = [("name", "ours", "other side", "ratio", "goal", "met")]
    for f in figures:
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        rows.append((f.name, f.ours, f.other, ratio, f.goal, _JUDGED[f.met]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 1 if any(f.met is not None and not f.met for f in figures) else 0
