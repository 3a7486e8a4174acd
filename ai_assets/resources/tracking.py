"""Experiment tracking in MLflow.

Why not `dagster_mlflow.mlflow_tracking`? It keeps the current run in MLflow's process-wide state
and ends it when the resource is torn down. Seen with 0.29.27: the MLflow run of a failed job ends
FINISHED; in a job with parallel steps a slow one finds its run already FINISHED; two Dagster runs
in one process share a run and overwrite its tags; artifacts go to `./mlruns` of the working
directory. Here a run belongs to the `with` block that opened it, and nothing is process-wide: only
`MlflowClient` is used, no fluent function. `dagster_mlflow` is not imported.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.resources.events import events_root, write_events
from ai_assets.resources.tracking_database import one_at_a_time, uri_of
from ai_assets.serving.place import state_root

# MLflow's own limits: a longer value is refused by some stores, a larger batch by all.
_LONGEST_PARAM = 6_000
_LONGEST_TAG = 5_000
_METRICS_A_BATCH = 1_000
_PARAMS_A_BATCH = 100

# Stores whose database this process has seen migrated.
_READY: set[str] = set()


def _truncated(value: object, longest: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class TrackedRun:
    """An MLflow run that is open. It is ended by `ExperimentTracker.run`."""

    def __init__(
        self, client: Any, run_id: str, experiment_id: str, events: Path | None = None
    ) -> None:
        self._client = client
        self._events = events
        self.run_id = run_id
        self.experiment_id = experiment_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters; a value over 6,000 characters is cut and ends with an ellipsis."""
        from mlflow.entities import Param

        told = [Param(name, _truncated(value, _LONGEST_PARAM)) for name, value in params.items()]
        for start in range(0, len(told), _PARAMS_A_BATCH):
            batch = told[start : start + _PARAMS_A_BATCH]
            self._client.log_batch(self.run_id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record numbers at a step."""
        self._log([{"step": step, **metrics}])

    def log_curve(self, curve: Sequence[Mapping[str, float]]) -> None:
        """Record many steps at once, a mapping a step with `step` (default: its position).

        TensorBoard gets them too.
        """
        if self._events is not None and curve:
            write_events(self._events, curve)
        self._log(curve)

    def _log(self, curve: Sequence[Mapping[str, float]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [
            Metric(name, float(value), now, int(row.get("step", place)))
            for place, row in enumerate(curve)
            for name, value in row.items()
            if name != "step"
        ]
        for start in range(0, len(points), _METRICS_A_BATCH):
            batch = points[start : start + _METRICS_A_BATCH]
            self._client.log_batch(self.run_id, metrics=batch)

    def log_text(self, text: str, path: str) -> None:
        """Keep a text as the artifact `path`."""
        self._client.log_text(self.run_id, text, path)

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Keep a file below `folder` of the artifacts."""
        self._client.log_artifact(self.run_id, str(file), folder)

    def log_figure(self, png: bytes, path: str) -> None:
        """Keep a picture as the artifact `path`."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as drawn:
            file = Path(drawn, name)
            file.write_bytes(png)
            self.log_file(file, folder or None)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Record tags; a value over 5,000 characters is cut and ends with an ellipsis."""
        from mlflow.entities import RunTag

        told = [RunTag(name, _truncated(value, _LONGEST_TAG)) for name, value in tags.items()]
        if told:
            self._client.log_batch(self.run_id, tags=told)


class ExperimentTracker(dg.ConfigurableResource):
    """MLflow, by default in SQLite below the state folder."""

    tracking_uri: str = Field(
        default="",
        description="MLflow's store: sqlite:///…, postgresql://…, or http(s):// of a server. "
        "Default: $MLFLOW_TRACKING_URI, else SQLite at <state>/mlflow/mlflow.db.",
    )
    artifact_root: str = Field(
        default="", description="Folder or URL of artifacts. Default: <state>/mlflow/artifacts."
    )

    @property
    def uri(self) -> str:
        """The store in use.

        Raises:
            DeclarationError: It is one of plain files, which MLflow no longer keeps.
        """
        given = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        uri = given or uri_of(state_root() / "mlflow" / "mlflow.db")
        scheme = urlsplit(uri).scheme
        if scheme in ("", "file"):
            allowed = "a database or a server (sqlite:///…, postgresql://…, http://…)"
            raise DeclarationError(must_be("tracking_uri", allowed, uri))
        return uri

    @property
    def artifacts(self) -> str:
        """The folder or URL of artifacts in use."""
        return self.artifact_root or str(state_root() / "mlflow" / "artifacts")

    def client(self) -> Any:
        """An `MlflowClient` of the store, whose database exists and is migrated."""
        # Before MLflow is imported: no telemetry from a tool that people run on their own data.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = self.uri
        if uri in _READY:
            return _client(uri)
        with one_at_a_time(uri):
            client = _client(uri)
            # The first question migrates the database; two processes that do so at once both fail.
            client.search_experiments(max_results=1)
        _READY.add(uri)
        return client

    @contextmanager
    def run(
        self, experiment: str, name: str, tags: Mapping[str, Any] | None = None
    ) -> Iterator[TrackedRun]:
        """Open a run for the length of a `with` block.

        It ends FINISHED; FAILED when the block raises; KILLED when the block is interrupted. What
        was raised is raised on.
        """
        client = self.client()
        experiment_id = self._experiment(client, experiment)
        run_id = client.create_run(experiment_id, run_name=name).info.run_id
        status = "FAILED"
        try:
            events = events_root() / experiment / name / run_id
            tracked = TrackedRun(client, run_id, experiment_id, events)
            tracked.set_tags(tags or {})
            yield tracked
            status = "FINISHED"
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            status = "KILLED"
            raise
        finally:
            client.set_terminated(run_id, status)

    def register(self, model_name: str, source: str, tags: Mapping[str, Any] | None = None) -> str:
        """Add a version of a registered model, with its files at `source`; returns the version."""
        from mlflow.exceptions import MlflowException

        client = self.client()
        try:
            client.create_registered_model(model_name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        told = {name: _truncated(value, _LONGEST_TAG) for name, value in (tags or {}).items()}
        return str(client.create_model_version(model_name, source, tags=told).version)

    def set_alias(self, model_name: str, alias: str, version: str) -> None:
        """Let an alias, such as `champion`, name a version."""
        self.client().set_registered_model_alias(model_name, alias, version)

    def follow(self, model_name: str, bundle: str, source: str, alias: str = "champion") -> str:
        """Let the alias name the version of that bundle, registered if it was not; the version."""
        client = self.client()
        found = [
            str(version.version)
            for version in client.search_model_versions(f"name = '{model_name}'")
            if version.tags.get("bundle") == bundle
        ]
        version = found[0] if found else self.register(model_name, source, {"bundle": bundle})
        self.set_alias(model_name, alias, version)
        return version

    def _experiment(self, client: Any, name: str) -> str:
        """The experiment's id. It is made with a place for artifacts: without, they would go to
        `./mlruns`."""
        from mlflow.exceptions import MlflowException

        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            place = f"{self.artifacts.rstrip('/')}/{name}"
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            # Another process made it between the question and now.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(client.get_experiment_by_name(name).experiment_id)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)
