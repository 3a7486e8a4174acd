"""The digits of digit_reading as its pipeline reads them, and the folds that judge."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners.base import Dataset

FOLDS = 5
CLASSES = 10
WATCHED = 8
"""One in so many rows of a fold's training rows says when to stop."""
THREADS = 2
SHAPE = (8, 8, 1)
INK, WHITE = 16, 255


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, those of them that say when to stop, and rows that judge."""

    number: int
    train: Dataset
    validation: Dataset
    test: Dataset

    def hits(self, predicted: np.ndarray) -> int:
        """How many test rows' likeliest class is right, of predictions [n, K]."""
        return int((predicted.argmax(axis=1) == self.test.y).sum())


def digits() -> Dataset:
    """All 1,797 images, a byte a pixel as cleaned images are, then from 0 to 1."""
    from sklearn.datasets import load_digits

    read = load_digits()
    pixels = np.round(read.data * (WHITE / INK)).astype(np.uint8).astype(np.float32) / WHITE
    encoding = Encoding((EncodedColumn("image", "image", (), SHAPE),))
    return Dataset(pixels, read.target.astype(np.float64), None, encoding, CLASSES)


def folds(data: Dataset) -> Iterator[Fold]:
    """Five folds, shuffled, each class alike in all; every row judges once."""
    from sklearn.model_selection import StratifiedKFold

    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(data.x, data.y)
    for number, (inside, outside) in enumerate(split):
        mixed = np.random.default_rng(number).permutation(inside)
        watched, learned = np.split(mixed, [len(mixed) // WATCHED])
        yield Fold(number, data.take(learned), data.take(watched), data.take(outside))
