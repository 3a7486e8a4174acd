"""Artifacts that could be served in place of the winner."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.onnx_session import open_session, single_row_latency
from ai_assets.lifecycle.compression.recipes import Candidate, Job, recipes_of
from ai_assets.lifecycle.evaluation.metrics import get_metric
from ai_assets.lifecycle.learners.base import Model, Task
from ai_assets.lifecycle.training.metrics import metric_value, sign

ORIGINAL = "onnx"


@dataclass(frozen=True)
class Measurement:
    """What a candidate is like, on validation rows.

    Attributes:
        name: The candidate's name.
        size: Bytes of the graph.
        p50: Median time to score one row on one core, in milliseconds.
        p99: 99th percentile of the same.
        metric: The training metric of the candidate.
        metric_loss: How much worse than the parent's it is; negative where it is better. Of a
            metric in the unit of the target: as a share of the parent's.
        max_difference: Largest difference of an output from the parent's.
        mean_difference: Mean difference of an output from the parent's.
    """

    name: str
    size: int
    p50: float
    p99: float
    metric: float
    metric_loss: float
    max_difference: float
    mean_difference: float


def build_candidates(
    job: Job,
    *,
    only: str | None = None,
    enough: Callable[[Candidate], bool] | None = None,
) -> list[Candidate]:
    """The winner's own graph first, then what the declaration and the winner's family allow.

    Of recipes that make a ladder, such as students, the smallest are tried first, until one is
    enough.

    Args:
        job: what to compress, and with what.
        only: name of the one to build; the others are left out.
        enough: whether a step of a ladder is good enough for no larger one to be built. Default:
            none is.
    """
    winner = job.winner
    made: list[Candidate] = []
    if only in (None, ORIGINAL):
        graph = winner.to_onnx()
        made.append(Candidate(ORIGINAL, winner.family, graph, winner, "the winner itself"))
    done: set[str] = set()
    for recipe in recipes_of(job):
        if only is not None:
            made += [recipe.build()] if only == recipe.name else []
            continue
        left_out = recipe.form_of and recipe.form_of not in {c.name for c in made}
        if left_out or recipe.ladder in done:
            continue
        made.append(recipe.build())
        if recipe.ladder and enough is not None and enough(made[-1]):
            done.add(recipe.ladder)
    return made


def measure(
    candidate: Candidate,
    parent: Model,
    held_out: HeldOut,
    *,
    metric: str,
    task: Task,
    repeats: int = 300,
) -> Measurement:
    """Measure a candidate through onnxruntime, as it would be served.

    Args:
        candidate: what to measure.
        parent: what it was made from.
        held_out: rows to measure on.
        metric: name of the training metric.
        task: what is predicted.
        repeats: single rows to time.
    """
    session: Any = open_session(candidate.onnx)
    predicted, expected = held_out.of_graph(candidate, session), held_out.of_model(parent)
    rows = held_out.rows
    value = metric_value(metric, task, rows.y, predicted)
    of_parent = metric_value(metric, task, rows.y, expected)
    difference = np.abs(predicted - expected)
    p50, p99 = single_row_latency(session, rows.x, repeats)
    return Measurement(
        name=candidate.name,
        size=len(candidate.onnx),
        p50=p50,
        p99=p99,
        metric=value,
        metric_loss=sign(metric) * _against(metric, value, of_parent),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def _against(metric: str, value: float, of_parent: float) -> float:
    """The difference, or its share where a budget cannot know the unit; 0 beside an exact equal."""
    difference = value - of_parent
    if not get_metric(metric).in_units or not difference:
        return difference
    return difference / of_parent if of_parent else float("inf")
