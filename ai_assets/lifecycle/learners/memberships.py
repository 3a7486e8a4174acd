"""Which categories a split sends left, as numbers that a split can compare with a threshold.

Sets that lie in one another make a chain, S1 ⊂ S2 ⊂ … A category's rank in a chain is the number
of the first set that holds it, so "is it in S2" is "is its rank at most 1", counted from 0: one
column of ranks answers for all sets of a chain. A set may take part by its complement, too: then
the answer is the opposite.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

MOST_COLUMNS = 1024
MOST_CELLS = 2**18
"""Of all tables: 1 MB. What does not fit is asked category by category."""
BLOCK_COSTS = 16
"""What looking up one more block of a row costs, in columns."""
_BITS = 64


@dataclass(frozen=True)
class Question:
    """How a split asks for a set: whether column `column` is at most `threshold`.

    `opposite`: the answer yes means that a category is not in the set.
    """

    column: int
    threshold: float
    opposite: bool


@dataclass(frozen=True)
class Ranks:
    """Ranks of categories, in blocks of `width` columns that lie below one another.

    Attributes:
        table: float32 [R, width]; a block has a row for each category, with a row before and a row
            after them for whatever is none of these.
        features: int64 [B]: the feature that each block is looked up by.
        first: int64 [B]: row of a block's category 0.
        last: int64 [B]: a block's last row.
        questions: for each (feature, set), where there was room; columns count over all blocks.
    """

    table: np.ndarray
    features: np.ndarray
    first: np.ndarray
    last: np.ndarray
    questions: dict[tuple[int, int], Question]


@dataclass
class Chain:
    """Sets of one feature in the order in which they lie in one another.

    `inner` are sets that grow; `outer` are sets that grow too and share nothing with the inner
    ones: their complements, the largest set's first, continue the chain.
    """

    feature: int
    inner: list[int]
    outer: list[int]

    def ranks(self, rows: int) -> np.ndarray:
        """float32 [rows]: each category's rank; what is in no set lies between inner and outer."""
        found = np.full(rows, len(self.inner), dtype=np.float32)
        for rank, members in reversed(list(enumerate(self.inner))):
            found[categories(members)] = rank
        for rank, members in enumerate(reversed(self.outer), start=len(self.inner) + 1):
            found[categories(members)] = rank
        return found

    def questions(self, column: int) -> dict[tuple[int, int], Question]:
        """How to ask for each set where the ranks are in a column."""
        asked = [(members, False) for members in self.inner]
        asked += [(members, True) for members in reversed(self.outer)]
        return {
            (self.feature, members): Question(column, rank + 0.5, opposite)
            for rank, (members, opposite) in enumerate(asked)
        }


def chained(feature: int, sets: set[int]) -> list[Chain]:
    """All sets of a feature in few chains: each goes where the chain grows least by it.

    A set can continue the inner sets of a chain if it holds the largest of them and shares nothing
    with the outer ones, and the outer sets likewise. All chains are asked at once: trees over
    hundreds of categories bring thousands of sets.
    """
    chains: list[Chain] = []
    words = max((members.bit_length() for members in sets), default=0) // _BITS + 1
    # Words in the first axis: over so few of them, whole rows of chains are joined at once.
    inner, outer = (np.zeros((words, len(sets)), dtype=np.uint64) for _ in range(2))
    # Categories of the largest inner and the largest outer set.
    sizes = np.zeros((2, len(sets)), dtype=np.int64)
    for members in sorted(sets, key=lambda s: (s.bit_count(), s)):
        given = np.frombuffer(members.to_bytes(words * _BITS // 8, "little"), dtype="<u8")[:, None]
        known = len(chains)
        within, beside = inner[:, :known], outer[:, :known]
        fits_inner = ~((within & ~given) | (beside & given)).any(axis=0)
        fits_outer = ~((beside & ~given) | (within & given)).any(axis=0)
        held = np.where([fits_inner, fits_outer], sizes[:, :known], -1)
        best = held.max(axis=0)
        place = int(best.argmax()) if known and best.max() >= 0 else known
        is_outer = place < known and held[1, place] > held[0, place]
        if place == known:
            chains.append(Chain(feature, [], []))
        (chains[place].outer if is_outer else chains[place].inner).append(members)
        (outer if is_outer else inner)[:, place] = given[:, 0]
        sizes[int(is_outer), place] = members.bit_count()
    return chains


def build_ranks(sets: Counter[tuple[int, int]], first_column: int) -> Ranks | None:
    """Ranks for as many sets as there is room for, those first that save most.

    Args:
        sets: how often each (feature, set of categories) is asked for.
        first_column: number of the first column of ranks.
    """
    features = sorted({feature for feature, _ in sets})
    rows = {f: max(s.bit_length() for g, s in sets if g == f) for f in features}
    chains = [c for f in features for c in chained(f, {s for g, s in sets if g == f})]
    chains = _that_fit(chains, sets, rows)
    kept = {f: [c for c in chains if c.feature == f] for f in features}
    kept = {f: found for f, found in kept.items() if found}
    if not kept:
        return None
    width = _width([len(found) for found in kept.values()])
    tables, starts = [], [0]
    questions: dict[tuple[int, int], Question] = {}
    blocks = [(f, kept[f][i : i + width]) for f in kept for i in range(0, len(kept[f]), width)]
    for number, (feature, block) in enumerate(blocks):
        table = np.zeros((rows[feature] + 2, width), dtype=np.float32)
        for column, chain in enumerate(block):
            # No set holds the last two of these, so the last may become the row before the first.
            table[:, column] = np.roll(chain.ranks(rows[feature] + 2), 1)
            questions |= chain.questions(first_column + number * width + column)
        tables.append(table)
        starts.append(starts[-1] + len(table))
    return Ranks(
        np.concatenate(tables),
        np.array([feature for feature, _ in blocks], dtype=np.int64),
        np.array(starts[:-1], dtype=np.int64) + 1,
        np.array(starts[1:], dtype=np.int64) - 1,
        questions,
    )


def _that_fit(
    chains: list[Chain], sets: Counter[tuple[int, int]], rows: dict[int, int]
) -> list[Chain]:
    def use(chain: Chain) -> float:
        asked = sum(sets[chain.feature, members] for members in chain.inner + chain.outer)
        return asked / (rows[chain.feature] + 2)

    kept: list[Chain] = []
    cells = 0
    for chain in sorted(chains, key=use, reverse=True):
        cells += rows[chain.feature] + 2
        if len(kept) == MOST_COLUMNS or cells > MOST_CELLS:
            break
        kept.append(chain)
    return kept


def _width(columns: list[int]) -> int:
    """The width of blocks at which least is looked up, filling included."""

    def looked_up(width: int) -> int:
        return sum(-(-found // width) for found in columns) * (width + BLOCK_COSTS)

    return min((2**power for power in range(8)), key=looked_up)


def categories(members: int) -> list[int]:
    """The codes of a set's categories, in order."""
    return [code for code in range(members.bit_length()) if members >> code & 1]
