"""What to believe of a partition's scores before its labels have arrived.

A bundle whose labels have begun to arrive is corrected by those. A new one has none, and its own
calibration knows a few weeks only. So the bundles whose labels have arrived are asked about the
same rows too, each corrected by the newest that are enough to learn from, and the mean of all is
believed: errors of different weeks cancel (Clemen 1989, "Combining forecasts: a review and
annotated bibliography").
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import UserError
from ai_assets.lifecycle.estimation.confidence import are_enough, belief
from ai_assets.lifecycle.schema.scores import score_column, scores_in
from ai_assets.stages.binding import StageRun
from ai_assets.stages.evaluation import answers_as_declared, scores_of
from ai_assets.stages.outcomes import Outcomes, known_outcomes
from ai_assets.stages.predictions import features_for

BACK = 4
"""Partitions before with labels, that are looked at."""


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
    known: dict[str, Outcomes] = {}
    for tag, outcomes in _newest_labels(run):
        if tag == bundle:
            words = f"the scores, corrected by {outcomes.rows.height:,} labels that arrived before"
            return Beliefs(belief(p, outcomes.p, outcomes.y), words)
        known[tag] = outcomes
    others = dict(_opinions(run, rows, known))
    if not others:
        return Beliefs(p, "the scores as they are: too few labels arrived before")
    words = f"the mean of the scores and of what {', '.join(others)} and their labels say"
    return Beliefs(np.mean([p, *others.values()], axis=0), words)


def _opinions(
    run: StageRun, rows: pl.DataFrame, known: dict[str, Outcomes]
) -> Iterator[tuple[str, np.ndarray]]:
    """Other bundles, and what they believe of the rows by their labels."""
    for tag, outcomes in known.items():
        try:
            scores = _scored_by(run, tag, rows)
        except UserError as error:
            run.say(f"{tag} is not asked about these rows: {error}")
            continue
        if scores is not None:
            yield tag, belief(scores, outcomes.p, outcomes.y)


def _newest_labels(run: StageRun) -> Iterator[tuple[str, Outcomes]]:
    """Each bundle and its newest outcomes that are enough, of as few partitions as that takes."""
    found: dict[str, pl.DataFrame] = {}
    done: set[str] = set()
    # Of the newest partitions no labels are known yet where those take longer than a partition.
    for back in range(1, BACK + max(1, run.product.delay)):
        known = known_outcomes(run, back)
        for tag in sorted(set(known.rows["bundle"]) - done):
            rows = known.of(tag).rows
            found[tag] = pl.concat([found[tag], rows]) if tag in found else rows
            outcomes = Outcomes(found[tag])
            if are_enough(outcomes.y):
                done.add(tag)
                yield tag, outcomes


def _scored_by(run: StageRun, tag: str, rows: pl.DataFrame) -> np.ndarray | None:
    """Scores of the rows by a bundle; None if it has other answers than are declared now, or was
    made later: a server may have asked it of old rows, and it may have learned from these."""
    bundle = run.tools.bundles.load(tag)
    later = (bundle.partition or "") >= str(run.partition)
    if later or not answers_as_declared(run.product, bundle):
        return None
    features = rows.select("_row_id").join(
        features_for(run, bundle), on="_row_id", how="left", maintain_order="left"
    )
    return scores_of(bundle, features)
