"""Scoring: the one way from features, or from request rows, to an answer.

Batch predictions, the gate and the server all score through `Scorer`.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.schema.pieces import rows_at_once
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.model import open_model

if TYPE_CHECKING:
    import onnxruntime

    from ai_assets.lifecycle.features.prepared import PreparedQuery

_ROWS_AT_ONCE = 65_536
# From here on it pays to divide rows among cores: the model works without Python's lock.
_MANY_ROWS = 2048
_CORES = os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Scores:
    """Answers to rows, in their order.

    Attributes:
        probability: P(positive); of several classes that of the answer; the value of a regression.
        label: the answers in the product's own words.
        threshold: P(positive) from which on the answer is positive; None of a regression.
        probabilities: of several classes that of each, float64 [n, K] in their order; else None.
        interval: lower and upper end beside each value, float64 [n, 2], where the bundle has one.
    """

    probability: np.ndarray
    label: list[str | float]
    threshold: float | None
    probabilities: np.ndarray | None = None
    interval: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """What the model said: [n], or of several classes [n, K]."""
        return self.probability if self.probabilities is None else self.probabilities


class Scorer:
    """Scores rows with what a bundle serves.

    Args:
        bundle: a verified bundle.
        threads: threads that the model uses for one batch. One answers small requests soonest.
        opening: gives the opened model, where that was begun before.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        opening: "Callable[[], onnxruntime.InferenceSession] | None" = None,
    ) -> None:
        self.bundle = bundle
        self._opening = opening or (lambda: open_model(bundle.model, threads))
        self._query: PreparedQuery | None = None

    def score_features(self, frame: pl.DataFrame) -> Scores:
        """Score rows of features.

        Raises:
            DataError: a feature that the model needs is missing.
        """
        return self.score_matrix(self.bundle.encoding.transform(frame))

    def score_matrix(self, matrix: np.ndarray) -> Scores:
        """Score rows of the encoded matrix: float32 [n, f], columns as the encoding orders them."""
        return self.scores(self.probabilities(matrix))

    def predict(
        self, rows: pl.DataFrame, tables: Mapping[str, pl.DataFrame] | None = None
    ) -> Scores:
        """Score request rows that are as the request declares.

        Args:
            rows: columns as declared; late columns are absent.
            tables: the time-varying tables to read from now on; None keeps the present ones.

        Raises:
            DataError: a column is not as declared.
            DeclarationError: the feature query fails on these rows.
        """
        if tables is not None or self._query is None:
            self.refresh(tables or {})
        return self.scores(self.probabilities(self.matrix(rows)))

    def matrix(self, rows: pl.DataFrame) -> np.ndarray:
        """What the model sees of request rows: float32 [n, F], C-contiguous."""
        return self._prepared().encoded(rows, self.bundle.encoding)

    def features(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The features of request rows, in their order."""
        return self._prepared().run(rows)

    def _prepared(self) -> "PreparedQuery":
        if self._query is None:
            self.refresh({})
        assert self._query is not None
        return self._query

    def refresh(self, tables: Mapping[str, pl.DataFrame]) -> None:
        """Answer from these time-varying tables from now on; lookups are the bundle's own."""
        from ai_assets.lifecycle.features.prepared import PreparedQuery

        bundle = self.bundle
        missing = sorted(set(bundle.online) - set(tables))
        if missing:
            raise BundleError(f"The feature query reads online/{missing[0]}, which was not given.")
        # Only what the query was bundled with: another table might hide a name of the query.
        frames = {**bundle.lookups, **{name: tables[name] for name in bundle.online}}
        if self._query is not None:
            self._query.refresh(frames)
            return
        self._query = PreparedQuery(
            bundle.features_sql,
            frames,
            bundle.tables,
            bundle.request.name,
            bundle.horizon,
            plan=bundle.plan,
        )

    def open_model(self) -> None:
        """Make the model ready to score."""
        _ = self._session

    def probabilities(self, matrix: np.ndarray) -> np.ndarray:
        """Calibrated predictions [n, K] for rows of the encoded matrix."""
        if not len(matrix):
            return np.empty((0, self._outputs))
        run, step = self._session.run, self._step(len(matrix))
        pieces = [matrix[at : at + step] for at in range(0, len(matrix), step)]
        if len(pieces) == 1:
            parts = [run(None, {"x": matrix})[0]]
        else:
            parts = list(self._workers.map(lambda piece: run(None, {"x": piece})[0], pieces))
        raw = np.concatenate(parts).astype(np.float64)
        return self.bundle.calibration.apply(raw.reshape(len(raw), -1))

    def _step(self, rows: int) -> int:
        """Rows to score at once: all, or where they are many a share for each core."""
        share = -(-rows // _CORES) if rows >= _MANY_ROWS else rows
        return min(share, self._most_rows)

    @cached_property
    def _most_rows(self) -> int:
        return rows_at_once(self._session, _ROWS_AT_ONCE)

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_CORES, thread_name_prefix="model")

    def scores(self, predicted: np.ndarray) -> Scores:
        """Answers for calibrated predictions."""
        decision = self.bundle.decision
        if decision.task != "multiclass":
            value = predicted[:, 0]
            beside = decision.interval
            ends = None if beside is None else np.column_stack(beside.ends(value))
            answers = decision.answers(predicted)
            return Scores(value, answers, decision.asked_threshold, interval=ends)
        answer = decision.confidence(predicted)
        return Scores(answer, decision.answers(predicted), decision.threshold, predicted)

    @property
    def _outputs(self) -> int:
        """Columns of a prediction."""
        decision = self.bundle.decision
        return len(decision.classes) if decision.task == "multiclass" else 1

    @cached_property
    def _session(self) -> "onnxruntime.InferenceSession":
        session = self._opening()
        if self._outputs > 1:
            # Else the first row that is answered by a class without a name would tell.
            found = session.get_outputs()[0].shape[-1]
            if isinstance(found, int) and found != self._outputs:
                words = f"model.onnx tells {found} classes apart, decision.json names"
                raise BundleError(f"{words} {self._outputs}. Build the bundle anew.")
        return session
