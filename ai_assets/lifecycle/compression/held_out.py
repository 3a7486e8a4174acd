"""What models and their graphs say of the rows that candidates are compared on."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ai_assets.lifecycle.compression.onnx_session import open_session, run_session
from ai_assets.lifecycle.compression.recipes import Candidate
from ai_assets.lifecycle.learners.base import Dataset, Model


class HeldOut:
    """Rows, and what was answered to them: each is asked once, for large forests take seconds.

    Attributes:
        rows: n of them, which a candidate did not learn from.
    """

    def __init__(self, rows: Dataset) -> None:
        self.rows = rows
        # By identity; what was asked is held too, so that no other object gets its number.
        self._answers: dict[int, tuple[object, np.ndarray]] = {}

    def of_model(self, model: Model) -> np.ndarray:
        """Predictions float64 [n, K] of a model."""
        return self._once(model, lambda: model.predict(self.rows.x))

    def of_graph(self, candidate: Candidate, session: Any = None) -> np.ndarray:
        """The same of a candidate's graph; `session`: one of that graph that is open already."""
        return self._once(
            candidate, lambda: run_session(session or open_session(candidate.onnx), self.rows.x)
        )

    def _once(self, asked: object, answer: Callable[[], np.ndarray]) -> np.ndarray:
        if id(asked) not in self._answers:
            self._answers[id(asked)] = asked, answer()
        return self._answers[id(asked)][1]
