"""Weights under which groups of people and labels have nothing to do with each other.

Kamiran and Calders (2012), "Data preprocessing techniques for classification without
discrimination": a row of group s and label y weighs P(s) P(y) / P(s, y).
"""

import numpy as np


def reweighed(groups: np.ndarray, y: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Weights [n] with the sum of those that rows had.

    In each group the weighted share of a label is that of all rows; the groups and the labels keep
    their own shares.

    Args:
        groups: int64 [n, C], the number of each row's group in each protected column; a group is
            what is alike in all of them together.
        y: labels, 0 and 1 or the numbers of classes, [n].
        base: weights that the rows already have, [n].
    """
    _, group = np.unique(groups, axis=0, return_inverse=True)
    group = group.reshape(len(y))
    _, label = np.unique(y, return_inverse=True)
    cell = group * (label.max() + 1) + label
    total = base.sum()
    of_group, of_label, of_cell = (np.bincount(i, weights=base) for i in (group, label, cell))
    return base * of_group[group] * of_label[label] / (of_cell[cell] * total)
