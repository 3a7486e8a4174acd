"""Experiment tracking: runs end as they ended, and nothing is process-wide."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.resources.events import events_root
from ai_assets.resources.tracking import ExperimentTracker


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: making one costs seconds."""
    database = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    ExperimentTracker(tracking_uri=f"sqlite:///{database}").client()
    return database


@pytest.fixture
def tracker(state: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentTracker:
    """The default tracker of an empty state folder; the working directory is empty too."""
    (state / "mlflow").mkdir(parents=True)
    shutil.copy(migrated, state / "mlflow" / "mlflow.db")
    work = state.parent / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return ExperimentTracker()


def _runs(tracker: ExperimentTracker, experiment: str = "flight_delay") -> dict[str, Any]:
    client = tracker.client()
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def test_a_run_keeps_what_is_logged_and_ends_finished(tracker: ExperimentTracker) -> None:
    with tracker.run("flight_delay", "model", {"stage": "model"}) as run:
        run.log_params({"family": "mlp", "layers": [64, 32], "rate": 0.1})
        run.log_metrics({"loss": 0.5}, step=3)
        run.log_curve([{"step": 1, "validation": 0.9}, {"step": 2, "validation": 0.8}])
        run.log_text("# Card", "card.md")
        run.log_figure(b"\x89PNG", "plots/roc.png")

    found = _runs(tracker)["model"]
    assert found.info.status == "FINISHED"
    assert found.data.params == {"family": "mlp", "layers": "[64, 32]", "rate": "0.1"}
    assert found.data.metrics == {"loss": 0.5, "validation": 0.8}
    assert found.data.tags["stage"] == "model"
    history = tracker.client().get_metric_history(run.run_id, "validation")
    assert [(point.step, point.value) for point in history] == [(1, 0.9), (2, 0.8)]
    events = list((events_root() / "flight_delay" / "model" / run.run_id).glob("events.*"))
    assert len(events) == 1, "the curve is there for TensorBoard too"
    kept = Path(found.info.artifact_uri.removeprefix("file://"))
    assert (kept / "card.md").read_text(encoding="utf-8") == "# Card"
    assert (kept / "plots" / "roc.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize(
    ("raised", "status"),
    [(ValueError, "FAILED"), (SystemExit, "FAILED"), (KeyboardInterrupt, "KILLED")],
)
def test_a_run_that_raises_ends_as_it_ended_and_raises_on(
    tracker: ExperimentTracker, raised: type[BaseException], status: str
) -> None:
    with pytest.raises(raised), tracker.run("flight_delay", "model"):
        raise raised

    assert _runs(tracker)["model"].info.status == status


def test_an_error_of_the_first_tag_still_ends_the_run(tracker: ExperimentTracker) -> None:
    with pytest.raises(Exception, match="tag"), tracker.run("flight_delay", "model", {"": "x"}):
        pytest.fail("the block must not be entered")

    assert _runs(tracker)["model"].info.status == "FAILED"


def test_long_values_are_cut_and_many_points_are_logged_in_few_calls(
    tracker: ExperimentTracker,
) -> None:
    with tracker.run("flight_delay", "model", {"sql": "x" * 9_000}) as run:
        run.log_params({"long": "é" * 9_000} | {f"p{i}": i for i in range(150)})
        run.log_curve([{"train": i, "validation": i} for i in range(1_500)])

    found = _runs(tracker)["model"].data
    assert (len(found.params["long"]), found.params["long"][-2:]) == (6_000, "é…")
    assert (len(found.tags["sql"]), len(found.params)) == (5_000, 151)
    assert len(tracker.client().get_metric_history(run.run_id, "train")) == 1_500


def test_models_are_registered_and_aliases_move(tracker: ExperimentTracker) -> None:
    with tracker.run("flight_delay", "model") as run:
        run.log_text("onnx", "model/model.onnx")
    source = f"{tracker.artifacts}/flight_delay/{run.run_id}/artifacts/model"

    versions = [tracker.register("flight_delay", source, {"partition": p}) for p in ("05", "06")]
    for version in versions:
        tracker.set_alias("flight_delay", "champion", version)

    assert versions == ["1", "2"]
    champion = tracker.client().get_model_version_by_alias("flight_delay", "champion")
    assert (str(champion.version), champion.tags["partition"]) == ("2", "06")


def test_a_store_of_plain_files_is_refused_with_what_to_use() -> None:
    for uri in ("file:///tmp/mlruns", "./mlruns"):
        with pytest.raises(DeclarationError, match=r"tracking_uri must be a database or a server"):
            ExperimentTracker(tracking_uri=uri).client()


# What dagster_mlflow 0.29.27's `mlflow_tracking` did wrong, one test a case.

JOBS = """
import threading, time
import dagster as dg
from ai_assets.resources.tracking import ExperimentTracker

@dg.op
def fails(context: dg.OpExecutionContext, tracker: ExperimentTracker):
    with tracker.run("flight_delay", "fails", {"dagster_run": context.run_id}):
        raise ValueError("broken on purpose")

@dg.job(resource_defs={"tracker": ExperimentTracker()}, executor_def=dg.in_process_executor)
def failing():
    fails()

@dg.op(out=dg.DynamicOut())
def branches():
    for name in ("quick", "slow"):
        yield dg.DynamicOutput(name, mapping_key=name)

@dg.op
def works(context: dg.OpExecutionContext, tracker: ExperimentTracker, name: str):
    with tracker.run("flight_delay", name) as run:
        if name == "slow":
            time.sleep(2)
        status = tracker.client().get_run(run.run_id).info.status
        run.set_tags({"status_at_work": status})
        run.log_metrics({"done": 1.0})

@dg.job(
    resource_defs={"tracker": ExperimentTracker()},
    executor_def=dg.multiprocess_executor.configured({"max_concurrent": 2}),
)
def fanning_out():
    branches().map(works)

definitions = dg.Definitions(jobs=[failing, fanning_out])
"""


def _execute(job: str, folder: Path) -> subprocess.CompletedProcess:
    """`dagster job execute` in a process of its own, in a folder that is not the repository."""
    (folder / "jobs.py").write_text(JOBS, encoding="utf-8")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-f", "jobs.py", "-j", job]
    return subprocess.run(
        command, cwd=folder, env=os.environ.copy(), capture_output=True, text=True, timeout=200
    )


def test_the_run_of_a_failed_job_ends_failed_under_the_command_line(
    tracker: ExperimentTracker,
) -> None:
    done = _execute("failing", Path.cwd())

    assert done.returncode != 0
    assert "broken on purpose" in done.stderr + done.stdout
    assert _runs(tracker)["fails"].info.status == "FAILED"


@pytest.mark.slow
def test_in_a_fan_out_a_slow_step_finds_its_own_run_still_running(
    tracker: ExperimentTracker,
) -> None:
    done = _execute("fanning_out", Path.cwd())

    assert done.returncode == 0, done.stderr[-3_000:]
    found = _runs(tracker)
    assert {name: run.info.status for name, run in found.items()} == {
        "quick": "FINISHED",
        "slow": "FINISHED",
    }
    assert {run.data.tags["status_at_work"] for run in found.values()} == {"RUNNING"}
    assert found["slow"].data.metrics == {"done": 1.0}
    assert not (Path.cwd() / "mlruns").exists()


@dg.op
def _logs(context: dg.OpExecutionContext, tracker: ExperimentTracker) -> None:
    with tracker.run("flight_delay", context.run_id, {"dagster_run": context.run_id}) as run:
        run.log_text("kept", "kept.txt")
        if context.run_tags.get("fail"):
            raise ValueError("broken on purpose")


def _logging_job(tracker: ExperimentTracker) -> dg.JobDefinition:
    return dg.GraphDefinition(name="logging", node_defs=[_logs]).to_job(
        resource_defs={"tracker": tracker}
    )


def test_the_run_of_a_job_that_fails_in_process_ends_failed(tracker: ExperimentTracker) -> None:
    done = _logging_job(tracker).execute_in_process(tags={"fail": "1"}, raise_on_error=False)

    assert not done.success
    assert _runs(tracker)[done.run_id].info.status == "FAILED"


def test_two_dagster_runs_in_one_process_do_not_share_a_run(tracker: ExperimentTracker) -> None:
    job = _logging_job(tracker)

    done = [job.execute_in_process() for _ in range(2)]

    found = _runs(tracker)
    assert found.keys() == {run.run_id for run in done}
    for name, run in found.items():
        assert run.data.tags["dagster_run"] == name
        assert run.info.status == "FINISHED"


def test_runs_of_two_threads_do_not_end_each_other(tracker: ExperimentTracker) -> None:
    opened, closed = threading.Event(), threading.Event()

    def other() -> None:
        opened.wait(60)
        with tracker.run("flight_delay", "other"):
            pass
        closed.set()

    thread = threading.Thread(target=other)
    thread.start()
    with tracker.run("flight_delay", "mine") as run:
        opened.set()
        assert closed.wait(60)
        assert tracker.client().get_run(run.run_id).info.status == "RUNNING"
        run.log_metrics({"loss": 0.1})
    thread.join()

    found = _runs(tracker)
    assert (found["mine"].data.metrics, found["other"].data.metrics) == ({"loss": 0.1}, {})


def test_artifacts_lie_below_the_state_folder_and_not_in_the_working_directory(
    tracker: ExperimentTracker, state: Path
) -> None:
    with tracker.run("flight_delay", "model") as run:
        run.log_text("kept", "kept.txt")

    kept = state / "mlflow" / "artifacts" / "flight_delay" / run.run_id / "artifacts" / "kept.txt"
    assert kept.read_text(encoding="utf-8") == "kept"
    assert list(Path.cwd().iterdir()) == []


FIRST = """
from ai_assets.resources.tracking import ExperimentTracker
import sys
with ExperimentTracker().run("flight_delay", sys.argv[1]) as run:
    run.log_metrics({"loss": 0.5})
"""


def test_two_processes_may_make_the_database_at_the_same_time(state: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST, name], stderr=subprocess.PIPE, text=True, cwd=state
        )
        for name in ("ada", "bob")
    ]

    words = [worker.communicate(timeout=200)[1] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], words
    found = _runs(ExperimentTracker())
    assert {name: run.info.status for name, run in found.items()} == {
        "ada": "FINISHED",
        "bob": "FINISHED",
    }


def test_importing_the_resource_imports_neither_mlflow_nor_dagster_mlflow() -> None:
    code = (
        "import sys; import ai_assets.resources.tracking\n"
        "assert not {'mlflow', 'dagster_mlflow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
