"""A trial of a candidate: a ledger, a log written by the recorder, and the sensor."""

import asyncio
import json
from array import array
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from small_product import World

from ai_assets.automation import canary, observing
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.rollout import decide as rollout
from ai_assets.resources.ledger import Entry
from ai_assets.resources.notify import Alert
from ai_assets.serving.record.answers import Answered, Described, Told
from ai_assets.serving.record.counts import Counts
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.recorder import Recorder
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
