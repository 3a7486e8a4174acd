"""Judging predictions of the same rows that were made several times, by repeated cross-validation.

A value is the mean of the repeats. Its interval comes from drawing rows and, each time, one of the
repeats: so it holds both what other rows and what another way of dealing them would have changed.
Rows that were judged R times stay as many as they are. That models of one cross-validation share
most of their rows cannot be told from it (Bengio and Grandvalet 2004, "No unbiased estimator of the
variance of k-fold cross-validation"), so intervals are a little narrow.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ai_assets.lifecycle.evaluation.answered import answered
from ai_assets.lifecycle.evaluation.bootstrap import Estimate, estimate_of, resampled
from ai_assets.lifecycle.evaluation.costs import COST_SCHEMA
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate, names_of
from ai_assets.lifecycle.evaluation.metrics import AnyScored, get_metric, metrics_of, values_of
from ai_assets.lifecycle.schema.decision import Decision


def evaluate_repeats(
    frame: pl.DataFrame,
    y: ArrayLike,
    repeats: np.ndarray,
    decision: Decision,
    slices: Sequence[str] = (),
    *,
    seed: int,
    words: str,
    blocks: ArrayLike | None = None,
    resamples: int = 200,
    counts: bool = False,
) -> Evaluation:
    """The evaluation of rows that were predicted several times.

    Slices and the table of classes are those of the first repeat.

    Args:
        frame: The slice columns, a row for each label.
        y: Labels [n].
        repeats: Predictions [R, n], of several classes [R, n, K].
        decision: How they become answers.
        slices: Names of the slice columns.
        seed: Of the draws.
        words: How the rows were judged.
        blocks: The group of each row [n], of which whole ones are drawn; default: rows are.
        resamples: How many times rows are drawn.
        counts: Whether they are the counts of a regression.
    """
    values = decision.task == "regression"

    def judged(p: np.ndarray, resamples: int) -> Evaluation:
        return evaluate(
            frame,
            y,
            p,
            decision.threshold,
            slices,
            seed=seed,
            classes=decision.classes,
            resamples=resamples,
            values=values,
            interval=decision.interval,
            costs=decision.costs,
            counts=counts,
        )

    rows = [answered(y, p, decision, decision.costs) for p in repeats]
    costs = [judged(p, resamples).costs for p in repeats] if decision.costs is not None else []
    names = names_of(rows[0], counts)
    metrics = bootstrap_repeats(rows, names, seed=seed, resamples=resamples, blocks=blocks)
    first = judged(repeats[0], 0)
    return replace(first, metrics=metrics, costs=_mean(costs), judged=words)


def bootstrap_repeats(
    rows: Sequence[AnyScored],
    names: tuple[str, ...] | None = None,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
    blocks: ArrayLike | None = None,
) -> dict[str, Estimate]:
    """The named metrics' (default: all) means over repeats of rows, each with its interval."""
    names = metrics_of(rows[0]) if names is None else names
    values = [values_of(one, names) for one in rows]
    # The same seed draws the same rows of each repeat.
    drawn = [resampled(one, names, seed, resamples, blocks) for one in rows]
    which = np.random.default_rng(seed).integers(0, len(rows), resamples)
    found = {}
    for name in names:
        each = [value[name] for value in values]
        known = [value for value in each if value is not None]
        value = float(np.mean(known)) if len(known) == len(each) else None
        picked = np.array([one[name] for one in drawn])[which, np.arange(resamples)]
        found[name] = estimate_of(get_metric(name), value, picked, level)
    return found


def _mean(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The mean of tables that have the same rows."""
    if not tables:
        return pl.DataFrame(schema=COST_SCHEMA)
    return pl.concat(tables).group_by("answered", maintain_order=True).mean()
