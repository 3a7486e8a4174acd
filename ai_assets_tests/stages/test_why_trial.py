"""Why a candidate is tried, and how its trial went; and why a server's caller got an answer."""

import json
import re
from array import array
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from challengers import UNDER, release, tag
from small_product import FEBRUARY, MARCH, World

from ai_assets.automation.why import Records, why_decision, why_release, why_served
from ai_assets.automation.why.words import chain_text
from ai_assets.automation.why.words_of_prediction import served_text
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.rollout.decide import Step
from ai_assets.serving.record.answers import Answered, Described, Told
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import open_store
from ai_assets.serving.scoring import Scorer

BROKEN = {
    "rule": "error_rate", "allows": False, "words": "10 of 30 requests failed.", "value": 0.3333,
    "limit": 0.01,
}  # fmt: skip
OBSERVED = {
    "stable": {"requests": 900, "failed": 0, "error_rate": 0.0, "p99_ms": 7.5},
    "candidate": {"requests": 30, "failed": 10, "error_rate": 1 / 3, "p99_ms": 9.5},
    "realised": {"value": 0.2, "low": 0.1, "high": 0.3},
}


@pytest.fixture
def world(challenged: World) -> World:
    """The challenged product, which declares canaries, with one of March's bundle begun."""
    world = challenged.declared(rollout={"mode": "canary", "steps": [0.1, 0.5]})
    release(world, **UNDER)
    return world


@pytest.fixture
def records(world: World) -> Records:
    tools = world.tools
    return Records(world.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)


def test_the_steps_of_a_canary_are_told_with_who_and_why(world: World, records: Records) -> None:
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    release(world, None, split=0.5, who="canary sensor", why="all limits kept")
    running = why_release(records)
    release(world, None, end="promote", who="ada", why="well done")
    ended = why_release(records)

    assert running["replaced"] is None
    assert [(s["mode"], s["split"], s["who"]) for s in running["trial"]] == [
        ("canary", 0.1, "retraining sensor"), ("canary", 0.5, "canary sensor"),
    ]  # fmt: skip
    assert running["gate"]["bundle"] == running["candidate"]["tag"] == new
    assert running["bundle"]["tag"] == old
    text = chain_text(running)
    assert f"beside it      {new}, tried as canary, 0.5 of the traffic" in text
    assert f"Trial of {new}" in text and "all limits kept" in text
    assert (ended["release"]["stable"], ended["replaced"], ended["candidate"]) == (new, old, None)
    assert [(s["mode"], s["stable"]) for s in ended["trial"]] == [
        ("canary", old), ("canary", old), ("", new),
    ]  # fmt: skip
    assert ended["gate"]["bundle"] == new
    assert "well done" in chain_text(ended) and "ended" in chain_text(ended)
    first = why_release(records, records.releases()[0]["release_id"])
    assert first["trial"] == []


def test_why_a_candidate_was_taken_back(world: World, records: Records) -> None:
    step = Step("d9", "late_orders", "roll_back", 0.0, "error_rate", "10 failed.", [BROKEN])
    now = datetime(2024, 4, 2, tzinfo=UTC)
    world.tools.decisions.record(step, {"observed": OBSERVED}, who="canary sensor", recorded_at=now)
    told = release(world, None, end="drop", who="canary sensor", why="10 failed.", decision="d9")

    chain = why_decision(records, "d9")

    assert told["error_rate"] == 0.3333
    assert "10 of 30 requests failed." in told["judged"]
    assert told["observed"]["candidate"]["failed"] == 10
    assert chain["note"] == "It was carried out."
    assert chain["observed"] == OBSERVED
    assert [s["mode"] for s in chain["trial"]] == ["canary", ""]
    text = chain_text(chain)
    assert "✗ error_rate: 10 of 30 requests failed." in text
    assert re.search(r"candidate +30 +10 +0.3333 +9.5", text)
    assert "realised log loss, candidate less stable: 0.2 (0.1 to 0.3)" in text
    assert records.releases()[-1]["cause"] == "error_rate"


@pytest.fixture
def served(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answered:
    """An answer of the candidate to one row, in the log, and what came of it."""
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "log.sqlite"))
    bundle = world.tools.bundles.load(tag(world, MARCH))
    row = world.rows("features", MARCH).sort("_row_id").head(1)
    scores, now = Scorer(bundle).score_features(row), micros(datetime.now(UTC))
    asked = {"number": 20_001, "placed": "2024-03-01T00:00:00Z", "shop": "north", "weight": 1.5}
    entry = Answered(
        new_request_id(now), now, "predict", "k7", bundle.tag, MARCH, "candidate", {"visits": "4"},
        0.5, 3.25, now, now, json.dumps(asked).encode(),
        bundle.encoding.transform(row).tobytes(), array("d", scores.probability.tolist()).tobytes(),
        list(scores.label),
    )  # fmt: skip
    event = micros(datetime(2024, 3, 1, tzinfo=UTC))
    outcome = Told(now, now, "k7", entry.prediction_ids()[0], '{"number": 20001}', event, "late")
    store = open_store(str(tmp_path / "log.sqlite"))
    table = world.product.request_table
    store.write([Described.of(bundle.tag, table, bundle.encoding), entry, outcome])
    store.close()
    return entry


def test_why_a_caller_got_an_answer(records: Records, served: Answered) -> None:
    story: dict[str, Any] = why_served(records, served.prediction_ids()[0].upper())

    assert story["request"]["who"] == "k7"
    assert story["request"]["latency_ms"] == 3.25
    assert story["request"]["row"]["number"] == 20_001
    assert (story["answer"]["bundle"], story["answer"]["role"]) == (served.bundle, "candidate")
    assert story["release"]["candidate"] == served.bundle
    assert story["scored_again"] == pytest.approx(story["answer"]["probability"], abs=1e-9)
    told = {part["feature"]: part for part in story["explanation"]["contributions"]}
    assert set(told) == {"shop", "weight", "area", "load"}
    assert "shops.area" in told["area"]["made_of"]
    assert [one["outcome"] for one in story["outcomes"]] == ["late"]
    text = served_text(story)
    assert "by            k7" in text and "took          3.25 ms" in text
    assert f"tried as      {served.bundle}, canary, 10% of traffic" in text
    assert "scored again  the same" in text
    assert "number 20001, placed 2024-03-01T00:00:00Z" in text


def test_a_served_prediction_that_is_not_there_is_told(
    records: Records, served: Answered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = f"{served.prediction_ids()[0][:-5]}00001"

    with pytest.raises(DataError, match=f"There is no served prediction '{other}' in the log"):
        why_served(records, other)
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "none.sqlite"))
    with pytest.raises(DataError, match="No server has recorded an answer of late_orders yet"):
        why_served(records, other)
