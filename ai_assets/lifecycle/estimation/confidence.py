"""Performance before labels, from what the scores themselves promise.

Confidence-based performance estimation: a row of probability q is a positive with chance q, so the
expected confusion of scores and labels is known without a label. As NannyML's CBPE (its
documentation, "Confidence-based performance estimation") and, for thresholds of confidence, Garg et
al. (2022), "Leveraging unlabeled data to predict out-of-distribution performance".

It is right as far as the probabilities are: drift of inputs moves it as it moves the truth, but
where the label depends on the features in a new way (concept drift) nothing in the scores tells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.estimation import classes
from ai_assets.lifecycle.evaluation.answered import answered
from ai_assets.lifecycle.evaluation.binary import Scored
from ai_assets.lifecycle.evaluation.bootstrap import (
    Estimate,
    bootstrap,
    check_resampling,
    estimate_of,
    resample_counts,
)
from ai_assets.lifecycle.evaluation.counted import Floats
from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.evaluation.names import OF_COSTS
from ai_assets.lifecycle.schema.decision import CostMatrix, Decision

ESTIMATED = ("roc_auc", "log_loss", "brier", "accuracy")
"""Of two classes; those of several are in `classes.py`."""
LIKELIER = Decision("binary")
"""Answers of two where nothing else is said: what is likelier than not."""
FEWEST_LABELS = 200


@dataclass(frozen=True)
class Believed:
    """Scored rows whose label is believed, not known: each is both a positive and a negative.

    Attributes:
        rows: Each row twice, as a positive and then as a negative, by score; [2n].
        q: Belief [n] that the row is a positive, by score.
    """

    rows: Scored
    q: Floats

    @property
    def order(self) -> NDArray[np.intp]:
        """Positions of the rows in the arrays that were given [n]."""
        return self.rows.order[::2]

    def weights(self, positives: Floats, counts: Floats) -> Floats:
        """Counts [B, 2n] of the doubled rows, of which so many [B, n] are positives."""
        both = np.empty((len(counts), 2 * len(self.q)))
        both[:, ::2] = positives
        both[:, 1::2] = counts - positives
        return both


def estimated_of(task: str, costs: CostMatrix | None) -> tuple[str, ...]:
    """Names of the metrics that are estimated of a task, with what answers cost if that is known.

    What an answer costs follows from the expected confusion, so it is expected as accuracy is.
    """
    if task == "multiclass":
        return classes.estimated_of_classes(costs)
    return ESTIMATED if costs is None else (*ESTIMATED, *OF_COSTS)


def believed(
    p: ArrayLike,
    q: ArrayLike | None = None,
    threshold: float = 0.5,
    costs: CostMatrix | None = None,
) -> Believed:
    """Check scores and beliefs of two classes, and sort them.

    Args:
        p: P(positive) [n].
        q: Beliefs [n]; the scores by default, as if they were calibrated.
        threshold: Score from which on the answer is positive.
        costs: What the answers are held to cost, by label and answer, [2, 2]; None where nothing
            is declared.

    Raises:
        DataError: There are no rows, lengths differ, or a belief or score is not in [0, 1].
    """
    scores = np.asarray(p, dtype=np.float64).ravel()
    beliefs = scores if q is None else np.asarray(q, dtype=np.float64).ravel()
    if not len(scores):
        raise DataError("An estimate of performance needs at least one scored row, but got none.")
    if len(scores) != len(beliefs):
        raise DataError(must_be("p and q", "of one length", (len(scores), len(beliefs))))
    for name, values in (("a score", scores), ("a belief", beliefs)):
        if wrong := values[~((values >= 0) & (values <= 1))][:1].tolist():
            raise DataError(must_be(name, "a probability between 0 and 1", wrong[0]))
    order = np.argsort(scores, kind="stable")
    labels = np.tile([1.0, 0.0], len(scores))
    twice = Scored(labels, np.repeat(scores[order], 2), np.repeat(order, 2), threshold, costs)
    return Believed(twice, beliefs[order])


def expected_values(rows: Believed, names: tuple[str, ...] = ESTIMATED) -> dict[str, float | None]:
    """The value that each metric is expected to have once labels are known.

    A row weighs q as a positive and 1 - q as a negative; the metrics' own formulas do the rest, so
    log loss is the mean entropy of scores that are calibrated. ROC-AUC is expected pairs won by
    expected pairs, which differs from the expected ROC-AUC by the order of 1 / n.

    Returns:
        Values by name; None where a metric is undefined: every belief is 0, or every one is 1.

    Raises:
        DeclarationError: A metric cannot be estimated.
    """
    _check_estimated(names, estimated_of("binary", rows.rows.costs))
    once = np.ones((1, len(rows.q)))
    weights = rows.weights(rows.q[None, :], once)
    found = {name: float(get_metric(name).compute(rows.rows, weights)[0]) for name in names}
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def _check_estimated(names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise DeclarationError(must_be("an estimated metric", known, name))


def estimated(
    p: ArrayLike,
    q: ArrayLike | None = None,
    *,
    seed: int,
    decision: Decision | None = None,
    costs: CostMatrix | None = None,
    names: tuple[str, ...] | None = None,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """The expected metrics, each with the interval in which the realised one lies if q is right.

    Every resample draws rows, and draws the label of each by its belief: both are chance.

    Args:
        p: Scores [n], or of several classes [n, K]; of those ROC-AUC is not estimated.
        q: Calibrated probability [n] that a row is a positive, or [n, K] that it is of each class;
            the scores by default.
        seed: Of the draws.
        decision: How scores become answers: by its threshold, of classes by the costs that it was
            made by. Default: what is likelier than not, of classes the likeliest.
        costs: What the answers are held to cost today, by label and answer, [2, 2] or [K, K]; None
            where nothing is declared: then no cost is estimated.
        names: Metrics, of those of `estimated_of`; all of them by default.
        resamples: How many draws; 0 for no interval.
        level: Share of draws inside the interval.
        blocks: The block of each row [n], for example its day; whole blocks are drawn.

    Raises:
        DeclarationError: A metric cannot be estimated.
    """
    check_resampling(resamples, level)
    scores = np.asarray(p, dtype=np.float64)
    if scores.ndim == 2:
        of_classes = classes.believed_classes(scores, q, decision or classes.LIKELIEST, costs)
        values, drawn = of_classes.expected(), of_classes.drawn(seed, resamples, blocks)
        names = tuple(values) if names is None else names
        _check_estimated(names, tuple(values))
    else:
        names = estimated_of("binary", costs) if names is None else names
        rows = believed(p, q, (decision or LIKELIER).threshold, costs)
        values = expected_values(rows, names)
        drawn = _drawn(rows, names, seed, resamples, blocks)
    return {name: estimate_of(get_metric(name), values[name], drawn[name], level) for name in names}


def _drawn(
    rows: Believed, names: tuple[str, ...], seed: int, resamples: int, blocks: ArrayLike | None
) -> dict[str, Floats]:
    """Values [resamples] of each metric for drawn rows and drawn labels."""
    generator = np.random.default_rng([seed, 1])
    found: dict[str, list[Floats]] = {name: [] for name in names}
    for counts in resample_counts(len(rows.q), resamples, seed, blocks, rows.order):
        drawn = generator.binomial(counts.astype(np.int64), rows.q)
        weights = rows.weights(drawn.astype(np.float64), counts)
        for name in names:
            found[name].append(get_metric(name).compute(rows.rows, weights))
    return {name: np.concatenate([np.empty(0), *parts]) for name, parts in found.items()}


def realised(
    y: ArrayLike,
    p: ArrayLike,
    *,
    seed: int,
    decision: Decision | None = None,
    costs: CostMatrix | None = None,
    names: tuple[str, ...] | None = None,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """The same metrics once labels are known, with intervals; arguments as of `estimated`.

    Args:
        y: Labels [n], of several classes their numbers.
        p: Scores [n], or of several classes [n, K].
        seed: Of the draws.
        decision: How the scores became answers.
        costs: What the answers are held to cost today; None where nothing is declared.
        names: Metrics, of those of `estimated_of`; all of them by default.
        resamples: How many draws; 0 for no interval.
        level: Share of draws inside the interval.
        blocks: The block of each row [n], for example its day; whole blocks are drawn.

    Raises:
        DataError: Labels or scores are not what they must be, or there are none.
    """
    scores = np.asarray(p, dtype=np.float64)
    usual = classes.LIKELIEST if scores.ndim == 2 else LIKELIER
    rows = answered(y, scores, decision or usual, costs)
    if names is None:
        names = estimated_of("binary" if isinstance(rows, Scored) else "multiclass", costs)
    return bootstrap(rows, names, seed=seed, resamples=resamples, level=level, blocks=blocks)


def belief(p: ArrayLike, known_p: ArrayLike, known_y: ArrayLike) -> Floats:
    """What to believe of scores, learned from the latest rows [m] whose labels are known.

    Calibration fades as the world moves. A sigmoid of two numbers, or of several classes a
    temperature, fitted on the last labelled partition, follows it; the model is not touched. With
    labels of one class only, or with fewer than 200, there is nothing to learn and the scores are
    believed as they are.

    Args:
        p: Scores [n], or of several classes [n, K].
        known_p: Scores of the labelled rows, [m] or [m, K].
        known_y: Their labels [m].
    """
    from ai_assets.lifecycle.training.calibration import fit_calibration

    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(known_y).ravel()
    if not are_enough(labels):
        return scores
    known = np.asarray(known_p, dtype=np.float64)
    return fit_calibration("sigmoid", known, labels).apply(scores)


def are_enough(labels: np.ndarray) -> bool:
    """Whether there is something to learn from labels [m]: so many, and not all of one class."""
    return len(labels) >= FEWEST_LABELS and len(np.unique(labels)) > 1
