"""Two bundles that tell several classes apart: split, cached, shadowed, learned, refused."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import classes_payload as several
import numpy as np
import pytest
import record_entries as make
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.serving.app import create_app
from ai_assets.serving.record.store import open_store
from ai_assets.serving.traffic.bandit import Arm, rewards

CLASSES = several.CLASSES
ROWS: list[dict[str, Any]] = [
    {**small.ROW, "due": f"2013-04-{1 + day:02}T{hour:02}:30:00Z"}
    for day in range(10)
    for hour in (13, 14)
]


def bundle(world: World, always: int | None, classes: Sequence[str] = CLASSES) -> str:
    """A bundle that answers one class, whatever it is asked."""
    return world.bundle(0.5, partial(several.turn, classes=classes, always=always))


@pytest.fixture
def served(world: World) -> Iterator[tuple[TestClient, str, str]]:
    """A server, its stable bundle, and a candidate that nothing is released of yet."""
    stable, candidate = bundle(world, 0), bundle(world, 2)
    world.release(stable)
    with TestClient(create_app(None, world.settings(max_rows=50, cache=100))) as client:
        yield client, stable, candidate


def release(world: World, client: TestClient, stable: str, candidate: str, **how: Any) -> None:
    world.release(stable, candidate, **how)
    until(lambda: client.get("/release").json()["candidate"] == candidate)


def ask(client: TestClient, rows: Any) -> list[dict[str, Any]]:
    answer = client.post("/predict", json=rows)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def test_a_request_that_two_bundles_answer_has_all_its_probabilities(
    world: World, served: tuple[TestClient, str, str]
):
    client, stable, candidate = served
    release(world, client, stable, candidate, split=0.4, mode="ab")

    answers = ask(client, ROWS)

    expected = {stable: CLASSES[0], candidate: CLASSES[2]}
    assert {one["bundle"] for one in answers} == {stable, candidate}
    for one in answers:
        assert one["label"] == expected[one["bundle"]]
        assert one["probabilities"][one["label"]] == one["probability"] > 0.9
        assert sum(one["probabilities"].values()) == pytest.approx(1)
        assert "threshold" not in one
    kinds = {"due": "BYTES", "place": "BYTES", "carrier": "BYTES", "distance": "INT64"}
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(ROWS)], "data": [r[name] for r in ROWS]}
        for name, kind in kinds.items()
    ]
    found = client.post("/v2/models/trips/infer", json={"inputs": inputs}).json()
    tensors = {one["name"]: one for one in found["outputs"]}
    assert tensors["probabilities"]["shape"] == [len(ROWS), 3]
    each = [list(one["probabilities"].values()) for one in answers]
    own = np.array(tensors["probabilities"]["data"]).reshape(-1, 3)
    assert own == pytest.approx(np.array(each), abs=1e-9)


def test_the_log_has_the_probabilities_of_either_bundle(
    world: World, served: tuple[TestClient, str, str]
):
    client, stable, candidate = served
    release(world, client, stable, candidate, split=0.4, mode="ab")
    answers = {one["prediction_id"]: one["probabilities"] for one in ask(client, ROWS)}

    entries = list(open_store(str(world.folder / "log.sqlite")).answers((None, None)))

    assert {entry.bundle for entry in entries} == {stable, candidate}
    logged = {
        name: dict(zip(CLASSES, each, strict=True))
        for entry in entries
        for name, each in zip(entry.prediction_ids(), entry.by_class() or [], strict=True)
    }
    assert logged == answers


def test_an_answer_from_the_cache_is_the_same_and_counted(served: tuple[TestClient, str, str]):
    client, _, _ = served

    first, again = ask(client, ROWS[:2]), ask(client, ROWS[:2])

    assert [one["probabilities"] for one in first] == [one["probabilities"] for one in again]
    assert {one["prediction_id"] for one in first}.isdisjoint(o["prediction_id"] for o in again)
    metrics = client.get("/metrics").text
    assert 'ai_assets_cache_lookups_total{product="trips",result="hit"} 1.0' in metrics
    assert f'ai_assets_labels_total{{label="{CLASSES[0]}",product="trips"}} 4.0' in metrics


def test_a_shadow_is_recorded_and_never_given(world: World, served: tuple[TestClient, str, str]):
    client, stable, candidate = served
    release(world, client, stable, candidate, mode="shadow")

    (answer,) = ask(client, ROWS[0])

    assert answer["label"] == CLASSES[0]

    def shadows() -> list[Any]:
        entries = open_store(str(world.folder / "log.sqlite")).answers((None, None))
        return [entry for entry in entries if entry.role == "shadow"]

    (entry,) = until(shadows)
    ((_, _, last),) = entry.by_class()
    assert (entry.bundle, list(entry.label)) == (candidate, [CLASSES[2]])
    assert entry.probabilities() == [last]


OTHERS = {
    "other classes": (("früh", "spät"), "answers are ['früh', 'spät'], were ['früh', 'pünkt"),
    "another order": (CLASSES[::-1], "answers are ['遅い', 'pünktlich, fast', 'früh'], were"),
    "two": (None, "the answer is a binary one, was multiclass"),
}


@pytest.mark.parametrize("mode", ["canary", "shadow"])
@pytest.mark.parametrize("case", OTHERS)
def test_a_candidate_of_other_answers_is_not_served(
    world: World,
    served: tuple[TestClient, str, str],
    caplog: pytest.LogCaptureFixture,
    case: str,
    mode: str,
):
    client, stable, right = served
    classes, words = OTHERS[case]
    wrong = world.bundle(0.5) if classes is None else bundle(world, 0, classes)

    world.release(stable, wrong, 0.9 if mode == "canary" else 0.0, mode)

    told = until(lambda: client.get("/release").json()["problem"])
    start = f"{wrong} cannot be served: Callers of {stable} do not know its answers: {words}"
    assert told.startswith(start)
    logged = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert logged == [f"The release is not followed: {told}"]
    assert client.get("/release").json()["candidate"] is None
    assert {one["label"] for one in ask(client, ROWS)} == {CLASSES[0]}
    release(world, client, stable, right, split=0.4, mode="ab")
    until(lambda: client.get("/release").json()["problem"] is None)


def test_a_bandit_rewards_the_right_class_and_no_other():
    entry = make.answered(rows=4, label=["a", "b", "c", "c"], given=b"wxyz")
    told = [make.told(outcome=word, entity=key) for key, word in zip("wxyz", "abac", strict=True)]

    assert rewards([entry], told, lambda e: list(e.given.decode())) == Arm(right=3, wrong=1)


def test_a_bandit_learns_from_outcomes_that_are_words(
    world: World, served: tuple[TestClient, str, str]
):
    client, stable, candidate = served
    release(world, client, stable, candidate, split=0.5, mode="bandit")
    for day in range(1, 5):
        rows = [{**row, "due": row["due"].replace("2013-04", f"2013-0{day}")} for row in ROWS]
        told = [
            {"prediction_id": one["prediction_id"], "outcome": CLASSES[2]}
            for one in ask(client, rows)
        ]
        assert client.post("/feedback", json=told).status_code == 200

    until(lambda: client.get("/release").json()["split"] > 0.9)


def test_a_candidate_that_fails_is_answered_for_with_all_probabilities(
    world: World, served: tuple[TestClient, str, str], monkeypatch: pytest.MonkeyPatch
):
    client, stable, candidate = served
    release(world, client, stable, candidate, split=0.4, mode="ab")
    server: Any = client.app.state.server  # type: ignore[attr-defined]
    slot = server.router.now.candidate
    monkeypatch.setattr(slot.engine.scorer, "score_matrix", lambda _: 1 / 0)

    answers = ask(client, ROWS)

    assert {(one["bundle"], one["label"]) for one in answers} == {(stable, CLASSES[0])}
    assert all(len(one["probabilities"]) == 3 for one in answers)


def test_a_regression_in_a_split_with_classes_is_refused_too(world: World):
    def numbers(folder: Path) -> None:
        text = small.Decision("regression", classes=()).to_json()
        (folder / "decision.json").write_text(text)

    stable = bundle(world, 0)
    world.release(stable, world.bundle(0.5, numbers), 0.5, "ab")
    with TestClient(create_app(None, world.settings())) as client:
        told = until(lambda: client.get("/release").json()["problem"])

    assert "the answer is a regression one, was multiclass" in told
