"""What to believe of a partition's scores before its labels have arrived.

A bundle whose labels have begun to arrive is corrected by those. A new one has none, and its own
calibration knows a few weeks only. So the bundles before it are asked about the same rows too, each
corrected by the labels of what it scored, and the mean of all is believed: errors of different
weeks cancel (Clemen 1989, "Combining forecasts: a review and annotated bibliography").
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import UserError
from ai_assets.lifecycle.estimation.confidence import FEWEST_LABELS, belief
from ai_assets.lifecycle.schema.scores import score_column, scores_in
from ai_assets.stages.binding import StageRun
from ai_assets.stages.evaluation import answers_as_declared, scores_of
from ai_assets.stages.outcomes import Outcomes, judged_outcomes, known_outcomes
from ai_assets.stages.predictions import features_for

BACK = 4
"""Partitions before, with labels, that are looked at; so many bundles are heard at most where each
scored one of them."""


@dataclass(frozen=True)
class Beliefs:
    """Probabilities [n] that rows are positives, or [n, K] of several classes, and whose they are.

    Attributes:
        q: The probabilities.
        words: What they are made of.
    """

    q: np.ndarray
    words: str


def beliefs(run: StageRun, rows: pl.DataFrame, bundle: str) -> Beliefs:
    """What the newest labels before the partition make of the rows' scores.

    Args:
        run: of the partition that is estimated; without partitions scores are believed as they are.
        rows: with `_row_id` and the bundle's scores.
        bundle: what scored them.
    """
    p = scores_in(rows[score_column(rows.columns)])
    if run.partition is None:
        return Beliefs(p, "the scores as they are")
    own = judged_outcomes(run, bundle, back=1)
    if own.rows.height >= FEWEST_LABELS:
        words = f"the scores, corrected by {own.rows.height:,} labels that arrived before"
        return Beliefs(belief(p, own.p, own.y), words)
    others = dict(_opinions(run, rows, bundle))
    if not others:
        return Beliefs(p, "the scores as they are: none of the bundle's labels arrived before")
    words = f"the mean of the scores and of what {', '.join(others)} and their labels say"
    return Beliefs(np.mean([p, *others.values()], axis=0), words)


def _opinions(run: StageRun, rows: pl.DataFrame, bundle: str) -> Iterator[tuple[str, np.ndarray]]:
    """Other bundles and what they believe of the rows, by their labels; the latest first."""
    assert run.partition is not None
    known_at_all = known_outcomes(run, run.partition, BACK + max(0, run.product.delay - 1))
    for tag, known in _by_bundle(known_at_all):
        if tag == bundle or known.rows.height < FEWEST_LABELS:
            continue
        try:
            scores = _scored_by(run, tag, rows)
        except UserError as error:
            run.say(f"{tag} is not asked about these rows: {error}")
            continue
        if scores is not None:
            yield tag, belief(scores, known.p, known.y)


def _by_bundle(known: Outcomes) -> Iterator[tuple[str, Outcomes]]:
    """Each bundle and the outcomes of what it scored; what scored last comes first."""
    last = known.rows.group_by("bundle").agg(pl.col("event_time").max())
    for tag in last.sort(-pl.col("event_time").to_physical(), "bundle")["bundle"]:
        yield tag, known.of(tag)


def _scored_by(run: StageRun, tag: str, rows: pl.DataFrame) -> np.ndarray | None:
    """Scores of the rows by a bundle; None if it has other answers than are declared now."""
    bundle = run.tools.bundles.load(tag)
    if not answers_as_declared(run.product, bundle):
        return None
    features = rows.select("_row_id").join(
        features_for(run, bundle), on="_row_id", how="left", maintain_order="left"
    )
    return scores_of(bundle, features)
