"""How well the shipped products of images and texts answer, against what one would try first.

digit_reading: the accuracy of the image network by 5-fold cross-validation over all 1,797 images,
an eighth of each fold's training rows saying when to stop; the other side is a support vector
machine with an RBF kernel that learns from all of them, on the same folds. question_topic: see
`topics.py`.
"""

import sys
import time
from statistics import median

import topics
from digits import THREADS, Fold, digits, folds
from figures import Figure, report

from ai_assets.lifecycle.learners.cnn import Cnn

LEAST_ACCURACY = 0.985
MOST_SECONDS = 90.0


def main() -> int:
    """Measure; 1 if a goal is missed."""
    parts = (digit_reading, topics.figures_of_product, topics.figures_across)
    return report([figure for part in parts for figure in part()])


def digit_reading() -> list[Figure]:
    """Accuracy over the folds, and how long a training takes on two cores."""
    data = digits()
    ours, other, seconds = 0, 0, []
    for fold in folds(data):
        hits, taken = network(fold)
        ours, other = ours + hits, other + machine(fold)
        seconds.append(taken)
    accuracy, beside = ours / len(data), other / len(data)
    print(f"trainings: {', '.join(f'{each:.1f}' for each in seconds)} s on {THREADS} threads")
    return [
        Figure(
            "digit_reading, accuracy over 5 folds",
            f"{accuracy:.4f}",
            f"{beside:.4f}, RBF SVM",
            (1 - beside) / max(1 - accuracy, 1e-9),
            f"at least {LEAST_ACCURACY}",
            accuracy >= LEAST_ACCURACY,
        ),
        Figure(
            "digit_reading, training",
            f"{median(seconds):.1f} s",
            "",
            None,
            f"under {MOST_SECONDS:.0f} s",
            max(seconds) < MOST_SECONDS,
        ),
    ]


def network(fold: Fold) -> tuple[int, float]:
    """Right answers of the image network, and the seconds that it was trained for."""
    start = time.perf_counter()
    model = Cnn("cpu").fit(
        fold.train, fold.validation, {}, task="multiclass", seed=fold.number, threads=THREADS
    )
    taken = time.perf_counter() - start
    return fold.hits(model.predict(fold.test.x)), taken


def machine(fold: Fold) -> int:
    """Right answers of the support vector machine; C = 10 is the better of 1, 10 and 100."""
    import numpy as np
    from sklearn.svm import SVC

    x = np.concatenate([fold.train.x, fold.validation.x])
    y = np.concatenate([fold.train.y, fold.validation.y])
    return int((SVC(C=10).fit(x, y).predict(fold.test.x) == fold.test.y).sum())


if __name__ == "__main__":
    sys.exit(main())
