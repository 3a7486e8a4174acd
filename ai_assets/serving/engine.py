"""The bundle at work: scorer and time-varying tables, kept up to date in the background."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from ai_assets.lifecycle.errors import BundleError, DataError, DeclarationError
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.explain import Explainer
from ai_assets.serving.metrics import Metrics
from ai_assets.serving.observe.exchange import Took
from ai_assets.serving.online import OnlineError, OnlineTables, Snapshot
from ai_assets.serving.problems import Refused
from ai_assets.serving.ranks import ranks_of
from ai_assets.serving.record.ids import new_request_id, prediction_ids
from ai_assets.serving.request import RequestReader
from ai_assets.serving.scoring import Scorer, Scores

if TYPE_CHECKING:
    import onnxruntime

_LOG = logging.getLogger(__name__)
# What a request brings: checked rows, a frame of the declared columns, or the encoded matrix
# [n, f].
Part = Sequence[BaseModel] | pl.DataFrame | np.ndarray


@dataclass(frozen=True, eq=False)
class Scored:
    """The answers to the rows of one request, in their order.

    Attributes:
        request_id: number of the request; the predictions' ids follow from it.
        features: what the model saw, float32 [n, f].
        probability: as in `Scores`, [n].
        label: the answers in the product's own words.
        threshold: as in `Scores`.
        snapshots: the time-varying tables that the answers were made from.
        bundle: tag of the bundle that answered.
        model: partition of its model; None without partitions.
        took: how long the batch took that these rows were part of.
        probabilities: as in `Scores`, [n, K] or None.
        classes: what the columns of `probabilities` are called.
        interval: as in `Scores`, [n, 2] or None.
    """

    request_id: int
    features: np.ndarray
    probability: np.ndarray
    label: list[str | float]
    threshold: float | None
    snapshots: dict[str, Snapshot]
    bundle: str
    model: str | None
    took: Took | None = None
    probabilities: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    interval: np.ndarray | None = None

    @property
    def ids(self) -> list[str]:
        """Names of the predictions."""
        return list(prediction_ids(self.request_id, len(self.label)))

    @property
    def bundles(self) -> list[str]:
        """The bundle that answered each row."""
        return [self.bundle] * len(self.label)

    def content(self) -> list[dict[str, Any]]:
        """The answers as JSON shows them."""
        if self.probabilities is not None:
            return self._of_classes(self.probabilities)
        return [
            {
                "prediction_id": name,
                "probability": probability,
                "label": label,
                **beside,
            }
            for name, probability, label, beside in zip(
                self.ids, self.probability.tolist(), self.label, self._beside(), strict=True
            )
        ]

    def _beside(self) -> list[dict[str, Any]]:
        """What stands beside each answer: the threshold, or of a value its interval, if any."""
        if self.threshold is not None:
            return [{"threshold": self.threshold}] * len(self.label)
        if self.interval is None:
            return [{}] * len(self.label)
        return [{"interval": ends} for ends in self.interval.tolist()]

    def _of_classes(self, probabilities: np.ndarray) -> list[dict[str, Any]]:
        """The answers where there are several classes: the likeliest, and how likely each is."""
        columns = zip(
            self.ids, self.probability.tolist(), self.label, probabilities.tolist(), strict=True
        )
        return [
            {
                "prediction_id": name,
                "probability": probability,
                "label": label,
                "probabilities": dict(zip(self.classes, each, strict=True)),
            }
            for name, probability, label, each in columns
        ]


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the model saw of several parts, float32 [n, f], and its answers."""

    matrix: np.ndarray
    scores: Scores
    took: Took


class Engine:
    """Answers checked rows. All that scores is called from the scoring worker.

    Args:
        bundle: a verified bundle.
        reader: makes frames of checked rows.
        tables: where the time-varying tables are read.
        metrics: counts batches.
        check_s: seconds between two looks for newer tables.
        opening: gives the opened model.
    """

    def __init__(
        self,
        bundle: Bundle,
        reader: RequestReader,
        tables: OnlineTables,
        metrics: Metrics,
        *,
        check_s: float,
        opening: "Callable[[], onnxruntime.InferenceSession]",
    ) -> None:
        self.scorer = Scorer(bundle, opening=opening)
        self._explainer = Explainer(self.scorer)
        self._ranks = ranks_of(bundle)
        self._reader = reader
        self._tables = tables
        self.metrics = metrics
        self._check_s = check_s
        self._snapshots: dict[str, Snapshot] | None = None
        self._problem: OnlineError | None = None
        self._refreshing = threading.Lock()
        self._looked_at = float("-inf")
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def score(self, parts: list[Part]) -> list[Scored]:
        """The answers to each part, all computed together.

        Raises:
            Refused: a table that the answer needs is not there, the query fails on the rows, or
                their values are too large to compute with.
        """
        vectors = [part for part in parts if isinstance(part, np.ndarray)]
        frames = self._frames([part for part in parts if not isinstance(part, np.ndarray)])
        # Features that are ready need no tables.
        snapshots = self._ready_snapshots() if frames else {}
        try:
            began = time.time_ns()
            of_rows = self._seen(self.scorer.matrix(_together(frames)), began) if frames else None
            of_vectors = self._seen(np.concatenate(vectors)) if vectors else None
        except (DataError, DeclarationError) as error:
            raise _not_computable(error) from error
        return _shared_out(parts, of_rows, of_vectors, snapshots, self.scorer.bundle)

    def _seen(self, matrix: np.ndarray, sql_began_ns: int = 0) -> "_Seen":
        """The answers to a matrix, which was made by SQL from `sql_began_ns` on, or came ready."""
        began = time.time_ns()
        scores = self.scorer.score_matrix(matrix)
        _check_finite(scores)
        ended, by_sql = time.time_ns(), bool(sql_began_ns)
        self.metrics.scored(len(matrix))
        self.count(scores)
        took = Took(len(matrix), sql_began_ns, began if by_sql else 0, began, ended)
        return _Seen(matrix, scores, took)

    def count(self, answers: "Scores | Scored") -> None:
        """Count answers as what they are: values, or probabilities, of several classes by class."""
        if self.scorer.bundle.decision.task == "regression":
            if self._ranks is not None:
                self.metrics.ranked(self._ranks.of(answers.probability))
            return
        self.metrics.likely(answers.probability)
        if answers.probabilities is not None:
            self.metrics.labelled(answers.label)

    def _frames(self, parts: Sequence[Sequence[BaseModel] | pl.DataFrame]) -> list[pl.DataFrame]:
        """The parts as frames. Rows beside each other share one: a frame for each costs more."""
        frames: list[pl.DataFrame] = []
        rows: list[BaseModel] = []
        for part in parts:
            if not isinstance(part, pl.DataFrame):
                rows += part
                continue
            if rows:
                frames.append(self._reader.frame(rows))
                rows = []
            frames.append(part)
        return [*frames, self._reader.frame(rows)] if rows else frames

    def ready(self) -> None:
        """Return if rows can be scored now.

        Raises:
            Refused: with 503 and the reason, as any caller may hear it.
        """
        self._ready_snapshots()

    def check(self) -> None:
        """Return if rows can be scored now.

        Raises:
            OnlineError: with the whole reason, for whoever runs this.
        """
        try:
            self.ready()
        except Refused as refused:
            raise OnlineError(f"Not ready: {self._problem}") from refused

    def warm(self) -> None:
        """Read the tables and the model, so that the first request need not wait for them.

        The documented example is then scored once, which prepares the statement that answers.
        """
        try:
            self.scorer.open_model()
            self.refresh()
        except (OnlineError, BundleError) as error:
            _LOG.warning("Not ready: %s", error)
            return
        example = json.dumps(self._reader.example()).encode()
        # The examples of some products are incomplete; nobody asked, so nobody is refused.
        with suppress(Refused, DataError, DeclarationError):
            self.scorer.predict(self._reader.frame(self._reader.rows(example)))

    def explain(self, rows: list[BaseModel]) -> list[dict[str, Any]]:
        """For each row the contributions of its features."""
        self._ready_snapshots()
        try:
            return [e.content() for e in self._explainer.explain(self._reader.frame(rows))]
        except (DataError, DeclarationError) as error:
            raise _not_computable(error) from error

    @property
    def snapshots(self) -> dict[str, Snapshot] | None:
        """The tables that are answered from: another value as soon as they are; None before."""
        return self._snapshots

    def refresh(self) -> dict[str, Snapshot]:
        """Look for newer tables and answer from them from now on.

        Raises:
            OnlineError: a table is missing, or not as the bundle declares.
        """
        with self._refreshing:
            self._looked_at = time.monotonic()
            before = self._snapshots
            try:
                found = self._tables.newest()
                if before is None or any(found[n] is not before[n] for n in found):
                    self.scorer.refresh({name: s.frame for name, s in found.items()})
                    self._snapshots = found
            except OnlineError as error:
                self._problem = error
                raise
            except (DataError, DeclarationError) as error:
                self._problem = OnlineError(str(error))
                raise self._problem from error
            for name, snapshot in found.items():
                self.metrics.aged(name, snapshot.shown()["age_seconds"])
            return found

    def start(self) -> None:
        """Begin to look for newer tables in the background."""
        if self._watcher is None and self.scorer.bundle.online:
            self._stop.clear()
            self._watcher = threading.Thread(target=self._watch, name="online", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """End the background looks."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
            self._watcher = None

    def _watch(self) -> None:
        while not self._stop.wait(self._check_s):
            try:
                self.refresh()
            except Exception as error:  # the watcher must outlive any failed look
                _LOG.warning("Answering from the tables read before: %s", error)

    def _ready_snapshots(self) -> dict[str, Snapshot]:
        if self._snapshots is not None:
            return self._snapshots
        # While a table is missing, requests do not each ask the lake for it.
        if self._problem and time.monotonic() - self._looked_at < self._check_s:
            raise _not_ready(self._problem)
        try:
            return self.refresh()
        except OnlineError as error:
            _LOG.warning("Not ready: %s", error)
            raise _not_ready(error) from error


def _not_ready(problem: OnlineError) -> Refused:
    # Where the lake lies, and what it says of itself, is for the log: anybody may ask for this.
    what = f"the table {problem.table} cannot" if problem.table else "the tables cannot"
    return Refused(503, f"Not ready: {what} be used now.", headers={"Retry-After": "5"})


def _not_computable(error: Exception) -> Refused:
    return Refused(400, f"The features of these rows cannot be computed: {error}")


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return frames[0] if len(frames) == 1 else pl.concat(frames)


def _check_finite(scores: Scores) -> None:
    if not np.isfinite(scores.probability).all():
        raise Refused(400, "The model gives no number for these rows: a value is too large.")


def _shared_out(
    parts: list[Part],
    of_rows: "_Seen | None",
    of_vectors: "_Seen | None",
    snapshots: dict[str, Snapshot],
    bundle: Bundle,
) -> list[Scored]:
    """Each part's own stretch of the answers."""
    found, at = [], {True: 0, False: 0}
    for part in parts:
        is_vectors = isinstance(part, np.ndarray)
        seen = of_vectors if is_vectors else of_rows
        assert seen is not None
        begin, end = at[is_vectors], at[is_vectors] + len(part)
        at[is_vectors] = end
        scores = seen.scores
        each, ends = scores.probabilities, scores.interval
        found.append(
            Scored(
                request_id=new_request_id(time.time_ns() // 1000),
                features=seen.matrix[begin:end],
                probability=scores.probability[begin:end],
                label=scores.label[begin:end],
                threshold=scores.threshold,
                snapshots={} if is_vectors else snapshots,
                bundle=bundle.tag,
                model=bundle.partition,
                took=seen.took,
                probabilities=None if each is None else each[begin:end],
                classes=bundle.decision.classes,
                interval=None if ends is None else ends[begin:end],
            )
        )
    return found
