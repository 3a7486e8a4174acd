"""The bundle at work: scorer and time-varying tables, kept up to date in the background."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ai_assets.lifecycle.errors import BundleError, DataError, DeclarationError
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.explain import Explainer
from ai_assets.serving.metrics import Metrics
from ai_assets.serving.online import OnlineError, OnlineTables, Snapshot
from ai_assets.serving.problems import Refused
from ai_assets.serving.request import RequestReader
from ai_assets.serving.scoring import Scorer

if TYPE_CHECKING:
    import onnxruntime

_LOG = logging.getLogger(__name__)
Answer = tuple[dict[str, Any], dict[str, Snapshot]]


class Engine:
    """Answers checked rows. Everything but `refresh` is called from the scoring worker.

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
        self._reader = reader
        self._tables = tables
        self._metrics = metrics
        self._check_s = check_s
        self._snapshots: dict[str, Snapshot] | None = None
        self._problem = ""
        self._refreshing = threading.Lock()
        self._looked_at = float("-inf")
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def score(self, rows: list[BaseModel]) -> list[Answer]:
        """An answer for each row, and the snapshots it was made from.

        Raises:
            Refused: a table that the answer needs is not there, or the query fails on the rows.
        """
        snapshots = self._ready_snapshots()
        try:
            scores = self.scorer.predict(self._reader.frame(rows))
        except (DataError, DeclarationError) as error:
            raise _not_computable(error) from error
        self._metrics.scored(scores.probability)
        threshold = scores.threshold
        pairs = zip(scores.probability.tolist(), scores.label, strict=True)
        return [
            (
                {
                    "prediction_id": str(uuid.uuid4()),
                    "probability": probability,
                    "label": label,
                    "threshold": threshold,
                },
                snapshots,
            )
            for probability, label in pairs
        ]

    def ready(self) -> None:
        """Return if rows can be scored now.

        Raises:
            Refused: with 503 and the reason.
        """
        self._ready_snapshots()

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
            except (DataError, DeclarationError) as error:
                self._problem = str(error)
                raise OnlineError(str(error)) from error
            for name, snapshot in found.items():
                self._metrics.aged(name, snapshot.shown()["age_seconds"])
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
            raise _not_ready(str(error)) from error


def _not_ready(problem: str) -> Refused:
    return Refused(503, f"Not ready: {problem}", headers={"Retry-After": "5"})


def _not_computable(error: Exception) -> Refused:
    return Refused(400, f"The features of these rows cannot be computed: {error}")
