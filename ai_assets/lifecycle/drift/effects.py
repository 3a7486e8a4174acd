"""Sizes of the difference between two samples in the same bins. None grows with the rows."""

import numpy as np

from ai_assets.lifecycle.drift.columns import CategoryProfile, ColumnProfile, Floats

_HALF_A_ROW = 0.5


def reference_counts(column: ColumnProfile) -> Floats:
    """Rows of each of the profile's bins; missing ones are the last."""
    if isinstance(column, CategoryProfile):
        return np.array([*column.counts.values(), column.other, column.missing], float)
    return np.array([*column.counts, column.missing], float)


def population_stability(reference: Floats, current: Floats) -> float:
    """PSI of two arrays of counts [bins]; bins that are empty in both say nothing."""
    used = (reference + current) > 0
    p, q = (_shares(counts[used] + _HALF_A_ROW) for counts in (reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Jensen-Shannon distance (base 2, 0 to 1) of two arrays of counts [bins]."""
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return float(np.sqrt(max(0.0, divergence)))


def cramers_v(reference: Floats, current: Floats) -> float:
    """Cramér's V (0 to 1) of the table of two arrays of counts [bins], both weighing the same.

    chi2 / N of the 2 x B table, whose smaller side minus one is 1. With the counts as they are a
    reference a thousand times larger than the partition would hide any change.
    """
    used = (reference + current) > 0
    p, q = _shares(reference[used]), _shares(current[used])
    return float(np.sqrt(((p - q) ** 2 / (p + q)).sum() / 2))


def _shares(counts: Floats) -> Floats:
    return counts / counts.sum()


def _divergence(p: Floats, q: Floats) -> float:
    return float((p[p > 0] * np.log2(p[p > 0] / q[p > 0])).sum())
