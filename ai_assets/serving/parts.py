"""What an explanation walks over: a number, a patch of a picture, a word of a text.

A patch that is left out has the colour of the ground: the middle of the outermost pixels of the
pictures that were learned from. Black would be a thing on white paper, and a blurred picture still
shows what it shows. A word that is left out is not there: what comes after it moves up, so that
the model reads a text that somebody could have sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.tokens import PADDING, words_read

GRID = 8
"""Most patches down and across a picture."""
_VALUES = 1 << 22
"""Of a matrix that is scored at once."""
# Rows that explaining one may score, by what a row costs: a sentence encoder of six layers takes
# some 5 ms for 64 tokens on one core, a small picture a tenth of one.
_TEXT_ROWS, _TEXT_LEAST, _TOKENS = 160, 48, 64
_IMAGE_ROWS, _IMAGE_LEAST, _IMAGE_VALUES = 2048, 128, 1 << 20


@dataclass(frozen=True, eq=False)
class Cut:
    """How one feature of a row is cut into parts.

    Attributes:
        column: the feature.
        of: the part [width] that each of its columns belongs to, from 0; -1 is no part's.
        count: how many parts.
        grid: of an image how many patches down and across.
        words: of a text what each part says.
    """

    column: EncodedColumn
    of: np.ndarray
    count: int
    grid: tuple[int, int] = (0, 0)
    words: tuple[str, ...] = ()

    def told(self, shares: np.ndarray) -> dict[str, Any]:
        """Contributions [count] of the parts as JSON shows them; nothing of what is one part."""
        if self.column.kind == "image":
            return {"map": shares.reshape(self.grid).tolist()}
        if self.column.kind == "text":
            each = zip(self.words, shares.tolist(), strict=True)
            return {"words": [{"word": word, "contribution": share} for word, share in each]}
        return {}


def most_rows(encoding: Encoding) -> int | None:
    """How many rows may be scored to explain one; None is as many as its features ask for.

    By the encoding alone: a row has the same explanation wherever and whenever it is asked for.
    """
    found = []
    for column in encoding.items:
        if column.kind == "text":
            found.append(max(min(_TEXT_ROWS, _TEXT_ROWS * _TOKENS // column.width), _TEXT_LEAST))
        else:
            found.append(max(min(_IMAGE_ROWS, _IMAGE_VALUES // column.width), _IMAGE_LEAST))
    return min(found, default=None)


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of one row, feature by feature as the encoding orders them."""

    encoding: Encoding
    cuts: Sequence[Cut]

    @classmethod
    def of(cls, encoding: Encoding, values: Mapping[str, Any]) -> "Parts":
        """Cut a row.

        Args:
            encoding: how features become numbers.
            values: the row's features; of those only texts are read.
        """
        most = most_rows(encoding)
        # Each part is put in and taken out at least once.
        words = len(encoding.columns) if most is None else most // 2
        return cls(encoding, [_cut(c, values.get(c.name), words) for c in encoding.columns])

    @cached_property
    def count(self) -> int:
        """Parts of all features."""
        return sum(cut.count for cut in self.cuts)

    def by_feature(self, shares: np.ndarray) -> list[np.ndarray]:
        """Contributions [count] of parts, by feature."""
        return np.split(shares, np.cumsum([cut.count for cut in self.cuts])[:-1])

    def rows(self, row: np.ndarray, typical: np.ndarray, own: np.ndarray) -> list[np.ndarray]:
        """What the model sees where only some parts are the row's own.

        Args:
            row: the row to explain, float32 [F].
            typical: what stands for parts that are left out, float32 [F].
            own: which parts are there, bool [m, count].

        Returns:
            Rows [m, F], in pieces that may be scored at once.
        """
        step = max(_VALUES // len(row), 1)
        return [self._rows(row, typical, own[at : at + step]) for at in range(0, len(own), step)]

    def _rows(self, row: np.ndarray, typical: np.ndarray, own: np.ndarray) -> np.ndarray:
        made = np.repeat(typical[None, :], len(own), axis=0)
        first = 0
        for place, cut in zip(self.encoding.places, self.cuts, strict=True):
            # A column of none of the parts takes the last of these, which is of none either.
            of_cut = np.pad(own[:, first : first + cut.count], ((0, 0), (0, 1)))
            there = of_cut[:, cut.of]
            first += cut.count
            if cut.column.kind == "text":
                made[:, place] = _without(row[place], there | _marks(row[place], cut))
            else:
                made[:, place] = np.where(there, row[place], made[:, place])
        return made


def _cut(column: EncodedColumn, value: Any, most: int) -> Cut:
    if column.kind == "image":
        height, width, channels = column.shape
        grid = min(height, GRID), min(width, GRID)
        down, across = np.arange(height) * grid[0] // height, np.arange(width) * grid[1] // width
        patches = down[:, None] * grid[1] + across[None, :]
        return Cut(column, np.repeat(patches.ravel(), channels), grid[0] * grid[1], grid)
    if column.kind == "text":
        words, of = words_read(column.tokenizer, str(value or ""), column.width)
        size = max(-(-len(words) // most), 1)
        said = tuple(" ".join(words[at : at + size]) for at in range(0, len(words), size))
        return Cut(column, np.where(of < 0, -1, of // size), len(said), words=said)
    return Cut(column, np.zeros(1, dtype=np.int64), 1)


def _marks(tokens: np.ndarray, cut: Cut) -> np.ndarray:
    """Which tokens [width] are marks of begin and end: they stay."""
    found: np.ndarray = (cut.of < 0) & (tokens != PADDING)
    return found


def _without(tokens: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The tokens [width] that are kept [m, width], moved up to where others were."""
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.where(np.take_along_axis(kept, order, axis=1), tokens[order], PADDING)
