"""The sensor that lets a candidate go by itself, on a ledger and a log written by the recorder."""

import asyncio
import json
from array import array
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from small_product import World, write_product

from ai_assets.automation import canary, observing
from ai_assets.automation.canary import WHO, canary_sensor
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.rollout import decide as rollout
from ai_assets.lifecycle.rollout.decide import decision_id
from ai_assets.resources.ledger import Entry
from ai_assets.resources.notify import Alert
from ai_assets.serving.record.answers import Answered, Described, LogError, Told
from ai_assets.serving.record.counts import Counts
from ai_assets.serving.record.decode import keys_of_rows
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.recorder import Recorder
from ai_assets.serving.record.sqlite import SqliteStore
from ai_assets.serving.record.store import open_store

A, B = "late_orders:2024-02-01-0123456789ab", "late_orders:2024-03-01-0123456789ab"
ROLLOUT = {
    "mode": "canary",
    "steps": [0.1, 0.5],
    "bake": "10 minutes",
    "min_answers": 20,
    "limits": {"error_rate": 0.05, "latency_p99_ms": 50, "realised_loss": 0.1},
}
ENCODING = Encoding((EncodedColumn("weight", "numeric"),))


class Trial:
    """The sensor with its world: a ledger, a log, and a clock that stands at the tick's moment."""

    def __init__(self, world: World, log: Path) -> None:
        self.world, self.log = world, log
        self.began = datetime.now(UTC) - timedelta(seconds=1)
        self.baked = self.began + timedelta(minutes=10, seconds=1)
        self.entry = self.release(split=0.1)

    def release(self, **changes: Any) -> Entry:
        """Append an entry that tries B beside A."""
        told: dict[str, Any] = {
            "product": "late_orders", "effective_from": datetime(2024, 4, 1, tzinfo=UTC),
            "recorded_at": self.began, "stable": A, "candidate": B, "mode": "canary",
            "decision_id": "d1", "cause": "by hand", "who": "ada", "why": "a look",
        }  # fmt: skip
        return self.world.tools.ledger.append(Entry(**told | changes))

    def answer(self, requests: int, *, status: int = 200, seconds: float = 0.005, **which) -> None:
        """Let requests be answered, to B as the candidate unless told otherwise, and counted."""
        bundle, role = which.get("bundle", B), which.get("role", "candidate")

        async def work(recorder: Recorder) -> None:
            counts = Counts(recorder.offer)
            for _ in range(requests):
                counts.add(bundle, role, "predict", status, seconds)
            counts.flush()

        self.recorded(work)

    def scored(self, rows: int, probability: float, late: bool, **which: Any) -> None:
        """Let rows be answered with a score, and callers tell how half of them came out, each way
        of telling for some."""
        bundle, role = which.get("bundle", B), which.get("role", "candidate")

        async def work(recorder: Recorder) -> None:
            await recorder.add(Described.of(bundle, self.world.product.request_table, ENCODING))
            for number in range(rows):
                now = int(datetime.now(UTC).timestamp() * 1e6)
                key = {"number": which.get("first", 0) + number}
                entry = Answered(
                    new_request_id(now), now, "predict", None, bundle, None, role, {}, 0.5, 1.0,
                    None, None,
                    f'{{"number": {key["number"]}, "placed": "2024-04-02T00:00:00Z"}}'.encode(),
                    array("f", [1.0]).tobytes(), array("d", [probability]).tobytes(), ["late"],
                )  # fmt: skip
                by_id = number % 2 == 0
                told = Told(
                    now, now, None, entry.prediction_ids()[0] if by_id else None,
                    "{}" if by_id else f'{{"number": {key["number"]}}}', None,
                    "late" if late else "not late",
                )  # fmt: skip
                await recorder.add(entry, told)

        self.recorded(work)

    def asked_in_bulk(self, requests: int, rows: int) -> None:
        """Let B answer requests of many rows each."""
        given = [{"number": n, "placed": "2024-04-02T00:00:00Z"} for n in range(rows)]

        async def work(recorder: Recorder) -> None:
            await recorder.add(Described.of(B, self.world.product.request_table, ENCODING))
            for _ in range(requests):
                now = int(datetime.now(UTC).timestamp() * 1e6)
                entry = Answered(
                    new_request_id(now), now, "predict", None, B, None, "candidate", {}, 0.5, 1.0,
                    None, None, json.dumps(given).encode(), array("f", [1.0] * rows).tobytes(),
                    array("d", [0.5] * rows).tobytes(), ["late"] * rows,
                )  # fmt: skip
                await recorder.add(entry)

        self.recorded(work)

    def step(self) -> rollout.Trial:
        """What the sensor decides on."""
        history = self.world.tools.ledger.history("late_orders")
        found = observing.trial_of(history.row(-1, named=True))
        assert found is not None
        return found

    def recorded(self, work: Callable[[Recorder], Any]) -> None:
        """Do something with a recorder of the log, and close it."""
        recorder = Recorder(lambda: open_store(str(self.log)), "durable", max_waiting=1000)
        asyncio.run(work(recorder))
        recorder.close()

    def tick(self, now: datetime | None = None) -> dg.SensorResult:
        tools = self.world.tools
        with dg.build_sensor_context(
            instance=self.world.instance,
            resources={
                "decisions": tools.decisions, "ledger": tools.ledger, "notifier": tools.notifier,
            },
        ) as context:  # fmt: skip
            return canary.tick(context, self.world.product, now or self.baked)

    def asked(self, now: datetime | None = None) -> dict[str, Any]:
        """What the one run that a tick asks for is to do."""
        (request,) = self.tick(now).run_requests or []
        return dict(request.run_config["ops"]["late_orders__release"]["config"])

    def decisions(self) -> list[tuple[str, str]]:
        rows = self.world.tools.decisions.history("late_orders")
        return list(rows.select("action", "cause").iter_rows())

    def alerts(self) -> list[Alert]:
        file = self.world.home / "alerts.jsonl"
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return [Alert.from_json(line) for line in lines]


def skipped(result: dg.SensorResult) -> str | None:
    """Why a tick started nothing."""
    assert not isinstance(result.skip_reason, str)
    return result.skip_reason.skip_message if result.skip_reason else None


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trial]:
    """Makes a trial of the small product with a log of its own."""

    def make(**rollout: Any) -> Trial:
        folder = write_product(tmp_path / "late_orders", rollout=ROLLOUT | rollout)
        monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "log.sqlite"))
        return Trial(World.of(folder, tmp_path / "home"), tmp_path / "log.sqlite")

    return make


@pytest.fixture
def trial(made: Callable[..., Trial]) -> Trial:
    return made()


def test_the_sensor_runs_by_itself_where_a_rollout_is_declared(made: Callable[..., Trial]) -> None:
    sensor = canary_sensor(made().world.product)
    direct = canary_sensor(made(mode="direct").world.product)

    assert sensor.name == "late_orders_canary"
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert direct.default_status == dg.DefaultSensorStatus.STOPPED
    assert sensor.required_resource_keys == {"decisions", "ledger", "notifier"}


def test_without_a_log_or_requests_it_waits_and_records_nothing(trial: Trial) -> None:
    words = "No request has come to the candidate; a step waits for 20."

    assert skipped(trial.tick()) == words
    trial.answer(500, bundle=A, role="stable")
    assert skipped(trial.tick(trial.baked + timedelta(days=1))) == words
    assert trial.decisions() == []


def test_it_waits_until_the_step_is_over_and_then_widens(trial: Trial) -> None:
    trial.answer(40)
    trial.answer(400, bundle=A, role="stable")

    early = trial.tick(trial.baked - timedelta(minutes=1))
    assert skipped(early) == "The step has lasted 9 minutes of 10 minutes."
    assert trial.decisions() == []
    asked = trial.asked()

    assert (asked["split"], asked["who"], asked["expects"]) == (0.5, WHO, trial.entry.release_id)
    assert asked["why"].startswith("40 requests, and all 4 limits kept.")
    assert trial.decisions() == [("widen", "limits kept")]
    found = trial.world.tools.decisions.find("late_orders", asked["decision"])
    assert found["evidence"]["observed"]["candidate"]["requests"] == 40
    assert found["evidence"]["trial"]["release_id"] == trial.entry.release_id
    assert trial.alerts() == []


def test_the_last_step_promotes_and_people_hear_of_it(trial: Trial) -> None:
    trial.release(split=0.5, decision_id="d2", recorded_at=trial.began + timedelta(microseconds=9))
    trial.answer(40)

    asked = trial.asked()

    assert asked["end"] == "promote" and "split" not in asked
    (alert,) = trial.alerts()
    assert (alert.kind, alert.severity) == ("rollout", "info")
    assert alert.title == f"late_orders: {B} is promoted"


def test_errors_take_the_candidate_back_at_once_and_people_are_told(trial: Trial) -> None:
    trial.answer(20)
    trial.answer(10, status=500)
    trial.answer(400, bundle=A, role="stable")

    asked = trial.asked(trial.began + timedelta(seconds=9))

    assert asked["end"] == "drop"
    assert asked["why"].startswith("10 of 30 requests to the candidate failed (33.33%")
    assert trial.decisions() == [("roll_back", "error_rate")]
    (alert,) = trial.alerts()
    assert (alert.kind, alert.severity) == ("rollback", "error")
    assert alert.words.endswith("may).") and "10% of the traffic (canary)" in alert.words


def test_slow_answers_take_the_candidate_back(trial: Trial) -> None:
    trial.answer(30, seconds=0.2)

    assert trial.asked(trial.began)["end"] == "drop"
    assert trial.decisions() == [("roll_back", "latency_p99_ms")]


def test_outcomes_that_callers_told_take_a_worse_candidate_back(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.6, late=True)
    worse = trial.asked(trial.began)

    assert worse["end"] == "drop"
    assert worse["why"].startswith(
        "The candidate's realised log loss exceeds the stable bundle's by 0.4055"
    )
    assert trial.decisions() == [("roll_back", "realised_loss")]


def test_outcomes_as_good_as_the_stable_bundles_do_not(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.9, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")


def test_scores_alone_tell_nothing_of_a_candidate_that_is_less_sure(
    made: Callable[..., Trial],
) -> None:
    trial = made(limits={"estimated_loss": 0.1})
    trial.scored(40, 0.95, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.5, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")


def test_scores_that_enough_outcomes_bear_out_take_a_worse_candidate_back(
    made: Callable[..., Trial],
) -> None:
    trial = made(limits={"estimated_loss": 0.1})
    trial.scored(200, 0.95, late=True, bundle=A, role="stable", first=1000)
    trial.scored(200, 0.5, late=True)

    assert trial.asked(trial.began)["end"] == "drop"
    assert trial.decisions() == [("roll_back", "estimated_loss")]


def test_a_candidate_that_fails_is_taken_back_before_any_row_is_read(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise LogError("The log cannot be read now.")

    monkeypatch.setattr(SqliteStore, "newest_answers", broken)
    trial.answer(10)
    with pytest.raises(LogError):
        trial.tick(trial.began)
    assert trial.decisions() == [] and trial.alerts() == []

    trial.answer(20, status=500)
    assert trial.asked(trial.began)["end"] == "drop"
    found = trial.world.tools.decisions.find("late_orders", decision_id(trial.step()))
    assert [reason["rule"] for reason in found["evidence"]["reasons"]] == [
        "error_rate", "error_rate_above_stable", "latency_p99_ms",
    ]  # fmt: skip


def test_a_tick_reads_a_bounded_number_of_rows_however_large_the_requests(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(entry: Answered, table: Any) -> list[str]:
        read.append(entry.rows)
        return keys_of_rows(entry, table)

    monkeypatch.setattr(observing, "keys_of_rows", counted)
    trial.asked_in_bulk(requests=25, rows=1000)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")
    assert sum(read) == observing.MOST_ROWS == 20_000


def test_a_row_that_is_asked_again_and_again_is_one_row(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    for _ in range(3):
        trial.scored(20, 0.6, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")
    trial.scored(10, 0.6, late=True, first=20)
    assert trial.asked(trial.began)["end"] == "drop"


def test_what_was_counted_before_the_step_says_nothing_of_it(trial: Trial) -> None:
    trial.answer(100, status=500)
    later = datetime.now(UTC)
    trial.release(split=0.5, decision_id="d2", recorded_at=later)

    assert skipped(trial.tick(later + timedelta(minutes=10))).startswith("No request has come")


def test_an_entry_is_decided_on_once_whatever_is_lost_in_between(trial: Trial) -> None:
    trial.answer(40)
    first = trial.tick().run_requests[0]
    trial.answer(40, status=500)

    again = trial.tick().run_requests[0]

    assert (again.run_key, again.run_config) == (first.run_key, first.run_config)
    assert trial.decisions() == [("widen", "limits kept")]
    trial.world.instance.wipe()
    assert trial.tick().run_requests[0].run_key == first.run_key


def test_a_run_that_failed_is_started_again_a_few_times(trial: Trial) -> None:
    trial.answer(40)
    request = trial.tick().run_requests[0]

    def ended(status: dg.DagsterRunStatus) -> None:
        run = dg.DagsterRun("release", str(uuid4()), tags=request.tags, status=status)
        trial.world.instance.add_run(run)

    ended(dg.DagsterRunStatus.FAILURE)
    assert trial.tick().run_requests[0].run_key == f"{request.run_key}/1"
    ended(dg.DagsterRunStatus.STARTED)
    assert skipped(trial.tick()).startswith("A run carries out: 40 requests")


@pytest.mark.parametrize("mode", ["shadow", "ab", "bandit"])
def test_other_modes_wait_for_a_person_but_are_taken_back(
    made: Callable[..., Trial], mode: str
) -> None:
    trial = made()
    role = "shadow" if mode == "shadow" else "candidate"
    trial.release(
        mode=mode,
        split=0.0 if mode == "shadow" else 0.1,
        decision_id="d2",
        recorded_at=trial.began + timedelta(microseconds=9),
    )
    trial.answer(40, role=role)

    kept = skipped(trial.tick())
    assert kept == f"No limit is broken; a person promotes or drops what is tried as {mode}."
    trial.answer(40, role=role, status=500)
    assert trial.asked()["end"] == "drop"


def test_without_a_candidate_there_is_nothing_to_do(trial: Trial) -> None:
    ended = {"candidate": None, "mode": "", "split": 0.0}
    trial.release(**ended, decision_id="d2", recorded_at=trial.began + timedelta(seconds=1))

    assert skipped(trial.tick()) == "No candidate is tried."
