"""Several workers are one server: to callers, the log, Prometheus and the limits of keys."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import small_payload as small
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families
from release_worlds import World, until
from serving_processes import started

from ai_assets.serving.access.limits import Bucket, Rate, SharedBuckets
from ai_assets.serving.record.store import open_store
from ai_assets.serving.settings import Settings
from ai_assets.serving.workers import METRICS, of_all_workers

ASKED = 40


def ask(url: str) -> str:
    """The id of an answer, over a connection of its own, so that any worker may give it."""
    answer = httpx.post(f"{url}/predict", json=small.ROW, timeout=60)
    assert answer.status_code == 200, answer.text
    (given,) = answer.json()["predictions"]
    return str(given["prediction_id"])


def asked(url: str, times: int = ASKED) -> list[str]:
    """As many answers, eight at a time."""
    with ThreadPoolExecutor(8) as callers:
        return list(callers.map(lambda _: ask(url), range(times)))


def answered(url: str) -> float:
    """How many requests to `/predict` were answered, as Prometheus reads it."""
    text = httpx.get(f"{url}/metrics", timeout=60).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "ai_assets_requests_total" and sample.labels["route"] == "predict"
    )


def workers_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The processes that answer."""
    return [
        child
        for child in psutil.Process(process.pid).children()
        if any("spawn_main" in word for word in child.cmdline())
    ]


def logged(log: Path) -> list[str]:
    return [i for e in open_store(str(log)).answers((None, None)) for i in e.prediction_ids()]


def test_all_workers_follow_one_release_into_one_log_and_one_scrape(tmp_path: Path, free_port: int):
    world = World(tmp_path / "world")
    one, two = world.bundle(0.3), world.bundle(0.7)
    world.release(one)
    command = ["ai_assets.serving", "--product", "trips", "--port", str(free_port)]
    url = f"http://127.0.0.1:{free_port}"
    environment = world.environment()
    with started([*command, "--workers", "2"], url, world.folder, environment) as (_, process):
        assert len(until(lambda: len(workers_of(process)) == 2 and workers_of(process))) == 2
        given = asked(url)
        assert {answered(url) for _ in range(6)} == {ASKED}

        world.release(two)
        text = lambda: httpx.get(f"{url}/metrics").text  # noqa: E731
        until(lambda: f'bundle{{bundle="{one}",product="trips",role="stable"}} 0.0' in text())
        given += asked(url)

    found = {}
    for entry in open_store(str(world.folder / "log.sqlite")).answers((None, None)):
        found |= dict.fromkeys(entry.prediction_ids(), entry.bundle)
    assert sorted(found) == sorted(given)
    assert {found[i] for i in given[:ASKED]} == {one}
    assert {found[i] for i in given[ASKED:]} == {two}


def test_a_worker_that_is_killed_is_replaced_and_its_numbers_stay(
    shared: Path, tmp_path: Path, free_port: int
):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_LOG": str(tmp_path / "log.sqlite"),
    }
    url = f"http://127.0.0.1:{free_port}"
    with started([*command, "--workers", "2"], url, tmp_path, environment) as (_, process):
        before = asked(url)
        first = workers_of(process)
        first[0].kill()
        until(lambda: not first[0].is_running() and len(workers_of(process)) == 2)
        (new,) = [one for one in workers_of(process) if one not in first]
        until(lambda: new.is_running() and new.net_connections() is not None)

        after = asked(url)

        assert answered(url) == 2 * ASKED
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert not any(one.is_running() for one in (*first, new))
    assert sorted(logged(tmp_path / "log.sqlite")) == sorted(before + after)


def test_workers_end_with_their_supervisor(shared: Path, tmp_path: Path, free_port: int):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    environment = {"AI_ASSETS_LAKE": str(shared / "lake")}
    url = f"http://127.0.0.1:{free_port}"
    with started([*command, "--workers", "2"], url, tmp_path, environment) as (_, process):
        workers = until(lambda: len(workers_of(process)) == 2 and workers_of(process))
        ask(url)
        process.kill()
        process.wait(timeout=60)
        until(lambda: not any(one.is_running() for one in workers))


def changed(world: World) -> str:
    tag = world.bundle(0.6)
    (world.payload(tag) / "features.sql").write_text("SELECT 1")
    return tag


def unreadable(world: World) -> str:
    return world.bundle(0.6, lambda folder: (folder / "decision.json").write_text("{}") and None)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (changed, "features.sql was changed after the bundle was signed.\n"),
        (unreadable, "decision.json"),
    ],
)
def test_workers_that_cannot_start_end_the_server_with_a_sentence(
    tmp_path: Path, free_port: int, bad: Callable[[World], str], words: str
):
    world = World(tmp_path / "world")
    payload = world.payload(bad(world))

    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.serving", "--bundle", str(payload), "--workers", "2",
         "--port", str(free_port)],
        env={**os.environ, **world.environment()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert words in done.stderr and "Traceback" not in done.stderr


def test_there_is_at_least_one_worker():
    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.serving", "--bundle", "x", "--workers", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "workers must be at least 1, but got 0.\n")


def test_settings_reach_workers_as_they_are(monkeypatch: pytest.MonkeyPatch):
    given = Settings(product="trips", lake="a lake", check_seconds=0.25, max_rows=7, grpc_port=81)
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)

    assert Settings.from_environment() == given


def test_a_place_that_is_set_to_nothing_is_the_default_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path))
    for name in ("BUNDLES", "LAKE", "KEYS", "ACCESS"):
        monkeypatch.setenv(f"AI_ASSETS_{name}", "")

    found = Settings.from_environment()

    assert found.bundles == str(tmp_path / "bentoml")
    assert found.lake == str(tmp_path / "lake")
    assert found.keys == str(tmp_path / "keys" / "access.sqlite")
    assert found.access == "keys"


def test_a_rate_in_a_file_is_one_for_all_that_have_it(tmp_path: Path):
    alone = Bucket(Rate(3, 2), 10.0)
    both = [SharedBuckets(tmp_path / "rates") for _ in range(2)]
    moments = [10.0, 10.1, 10.1, 10.1, 10.9, 10.2, 11.5, 11.6, 30.0, 30.0, 30.0, 30.0]

    waits = [both[n % 2].take("ada", Rate(3, 2), now) for n, now in enumerate(moments)]

    assert waits == pytest.approx([alone.take(max(moments[: n + 1])) for n in range(len(moments))])
    assert [bool(wait) for wait in waits[:4]] == [False, False, False, True]


def test_an_id_that_another_user_has_taken_over_is_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def not_ours(worker: int, signal: int) -> None:
        raise {71: PermissionError, 72: ProcessLookupError}.get(worker, SystemExit)

    for worker in (71, 72):
        (tmp_path / f"gauge_livesum_{worker}.db").touch()
    monkeypatch.setenv(METRICS, str(tmp_path))
    monkeypatch.setattr(os, "kill", not_ours)

    assert list(of_all_workers(CollectorRegistry()).collect()) == []
    assert list(tmp_path.iterdir()) == []


def test_what_live_workers_told_last_is_not_told_of_dead_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    code = (
        "from prometheus_client import Gauge\n"
        "Gauge('waiting', '', multiprocess_mode='livesum').set(5)\n"
        "Gauge('share', '', multiprocess_mode='mostrecent').set(0.5)\n"
    )
    environment = {**os.environ, METRICS: str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    monkeypatch.setenv(METRICS, str(tmp_path))

    found = {family.name: family for family in of_all_workers(CollectorRegistry()).collect()}

    assert set(found) == {"share"}


def test_a_single_worker_shows_its_own_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(METRICS, raising=False)
    registry = CollectorRegistry()
    Gauge("one", "", registry=registry).set(1)

    assert of_all_workers(registry) is registry
