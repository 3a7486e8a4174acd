"""Distillation into fewer trees."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.recipes import Candidate, Job, Recipe
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.lightgbm import LightGbm, LightGbmModel

STUDENT = "student"
STUDENT_TREES = 100
STUDENT_LEAVES = (15, 31, 63)
"""Of the trees of each student that is tried, the smallest first."""
SMALLER_BY = 4


def recipes(job: Job) -> list[Recipe]:
    """A student of each number of leaves.

    A multiclass winner has none: LightGBM learns no soft labels of several classes.
    """
    if job.task == "multiclass":
        return []
    names = {f"{STUDENT}_{leaves}": leaves for leaves in STUDENT_LEAVES}
    # Large forests take seconds to answer, and all students learn the same answers.
    lesson = cache(partial(taught, job))
    return [
        Recipe(name, "student", partial(_student, job, lesson, name, leaves), ladder=STUDENT)
        for name, leaves in names.items()
    ]


def _student(job: Job, lesson: Callable[[], Dataset], name: str, leaves: int) -> Candidate:
    made = distil(job, lesson(), leaves)
    about = f"{made.iterations} trees of {leaves} leaves that learned the winner's answers"
    return Candidate(name, made.family, made.to_onnx(), made, about)


def taught(job: Job) -> Dataset:
    """The rows to train on, with the winner's answers in place of their outcomes.

    Its graph gives them: sooner than LightGBM does from many trees.
    """
    session = open_session(job.winner.to_onnx(), threads=job.threads)
    return replace(job.train, y=run_session(session, job.train.x)[:, 0])


def distil(job: Job, lesson: Dataset, leaves: int) -> LightGbmModel:
    """Fewer trees, of at most `leaves` leaves, fitted to the winner's answers (Hinton et al. 2015),
    which are a `lesson`'s.

    It has a quarter of the trees of a LightGBM winner. Each tree sees half of the features and most
    of the rows: trees that differ miss the winner's answers on new rows by less, together.
    """
    winner, trees = job.winner, STUDENT_TREES
    if isinstance(winner, LightGbmModel):
        trees = max(1, winner.iterations // SMALLER_BY)
    params = LightGbm().defaults() | {
        # Few trees must take larger steps to arrive at all.
        "learning_rate": float(np.clip(20.0 / trees, 0.05, 0.4)),
        "num_leaves": leaves,
        "min_child_samples": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "lambda_l2": 5.0,
        # A teacher's answers have no noise that coarse thresholds would hold off.
        "max_bin": 255,
    }
    if job.task == "binary":
        params |= {"objective": "cross_entropy", "metric": "cross_entropy"}
    if job.task == "count":
        params |= {"objective": "poisson", "metric": "poisson"}
    student = LightGbm().fit(
        lesson,
        # Nothing stops a fixed number of trees, so nothing needs to be watched.
        None,
        params | {"iterations": trees},
        task="regression",
        seed=job.seed,
        threads=job.threads,
    )
    return replace(student, task=job.task)
