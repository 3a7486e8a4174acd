"""One request, answered by two bundles: its rows apart, and its answers together again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ai_assets.serving.engine import Part, Scored


@dataclass(frozen=True, eq=False, kw_only=True)
class Mixed(Scored):
    """The answers of several bundles to one request, in the order of its rows.

    `bundle`, `model`, `threshold` and `features` are those of the first; each answer names its own.
    All tell the same classes apart: a candidate of others is not served.

    Attributes:
        pieces: what each bundle answered.
        places: for each row the piece, and its row there.
    """

    pieces: Sequence[Scored]
    places: Sequence[tuple[int, int]]

    @property
    def ids(self) -> list[str]:
        """Names of the predictions."""
        ids = [piece.ids for piece in self.pieces]
        return [ids[piece][row] for piece, row in self.places]

    @property
    def bundles(self) -> list[str]:
        """The bundle that answered each row."""
        return [self.pieces[piece].bundle for piece, _ in self.places]

    def content(self) -> list[dict[str, Any]]:
        """The answers as JSON shows them; each names its bundle."""
        contents = [
            [{**one, "bundle": piece.bundle, "model": piece.model} for one in piece.content()]
            for piece in self.pieces
        ]
        return [contents[piece][row] for piece, row in self.places]


def mixed(pieces: Sequence[tuple[Sequence[int], Scored]]) -> Scored:
    """The answers together.

    Args:
        pieces: for each bundle the numbers of its rows in the request, and its answers to them.
            All rows of the request are in one of them.
    """
    if len(pieces) == 1:
        return pieces[0][1]
    count = sum(len(rows) for rows, _ in pieces)
    places = [(0, 0)] * count
    probability = np.empty(count)
    first = pieces[0][1]
    several = first.probabilities is not None
    probabilities = np.empty((count, len(first.classes))) if several else None
    beside = all(scored.interval is not None for _, scored in pieces)
    interval = np.empty((count, 2)) if beside else None
    label: list[str | float] = [""] * count
    for number, (rows, scored) in enumerate(pieces):
        probability[list(rows)] = scored.probability
        if probabilities is not None:
            probabilities[list(rows)] = scored.probabilities
        if interval is not None:
            interval[list(rows)] = scored.interval
        for place, row in enumerate(rows):
            places[row] = (number, place)
            label[row] = scored.label[place]
    online = {name: s for _, scored in reversed(pieces) for name, s in scored.snapshots.items()}
    return Mixed(
        request_id=first.request_id,
        features=first.features,
        probability=probability,
        label=label,
        threshold=first.threshold,
        snapshots=online,
        bundle=first.bundle,
        model=first.model,
        pieces=[scored for _, scored in pieces],
        places=places,
        probabilities=probabilities,
        classes=first.classes,
        interval=interval,
    )


def taken(part: Part, rows: Sequence[int]) -> Part:
    """These rows of a part."""
    if isinstance(part, pl.DataFrame | np.ndarray):
        return part[list(rows)]
    return [part[row] for row in rows]
