"""Answers of before: the same values, ids and a record of their own, and never of other tables."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.app import create_app
from ai_assets.serving.engine import Scored
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.answers import Answered
from ai_assets.serving.record.store import open_store
from ai_assets.serving.settings import Settings
from ai_assets.serving.traffic.cache import MOST_ROWS, Cache, key_of

ROW = small.ROW
OTHER = {**ROW, "distance": 200}
# The same row in other words: another order, another offset, a null that may be left out.
SAME = {"distance": 1400, "carrier": "UA", "place": "EWR", "name": None} | {
    "due": "2013-04-10T17:30:00+02:00"
}


@contextmanager
def served(world: World, *tags: str, split: float = 0.0, mode: str = "", **settings: Any) -> Any:
    """A client of a server that has taken up the release of these bundles."""
    world.release(*tags, **({"split": split, "mode": mode} if mode else {}))
    with TestClient(create_app(None, world.settings(**{"cache": 8} | settings))) as client:
        shown = dict(zip(("stable", "candidate"), tags, strict=False))
        until(lambda: shown.items() <= client.get("/release").json().items())
        yield client


@pytest.fixture
def client(world: World) -> Iterator[TestClient]:
    """A server that keeps the answers to eight requests."""
    with served(world, world.bundle(0.6)) as made:
        yield made


def ask(client: TestClient, rows: Any) -> dict[str, Any]:
    answer = client.post("/predict", json=rows)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def values(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """All of an answer but the ids."""
    return [
        (answer["bundle"], answer["online"]["weather"]["version"], *list(one.values())[1:])
        for one in answer["predictions"]
    ]


def ids(*answers: dict[str, Any]) -> list[str]:
    return [one["prediction_id"] for answer in answers for one in answer["predictions"]]


def entries(world: World) -> list[Answered]:
    return list(open_store(str(world.folder / "log.sqlite")).answers((None, None)))


def counted(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def looked_up(client: TestClient) -> tuple[float, float]:
    """How many requests were found, and how many were not."""
    labels = 'ai_assets_cache_lookups_total{product="trips",result='
    return counted(client, f'{labels}"hit"'), counted(client, f'{labels}"miss"')


def test_who_asks_the_same_again_gets_the_same_under_ids_of_their_own(
    client: TestClient, world: World
):
    answers = [ask(client, rows) for rows in (ROW, OTHER, ROW, [SAME], {"rows": [ROW]})]

    first, other, *again = answers
    assert [values(answer) for answer in again] == [values(first)] * 3
    assert values(other) != values(first)
    assert len(set(ids(*answers))) == 5
    assert looked_up(client) == (3, 2)
    assert counted(client, "ai_assets_batch_rows_sum") == 2
    assert counted(client, "ai_assets_probability_count") == 5


def test_each_answer_has_its_whole_record(client: TestClient, world: World):
    answers = [ask(client, ROW) for _ in range(3)]

    records = entries(world)
    assert [i for e in records for i in e.prediction_ids()] == ids(*answers)
    first = records[0]
    for entry in records[1:]:
        assert (entry.bundle, entry.online, entry.given) == (
            first.bundle,
            first.online,
            first.given,
        )
        assert (entry.features, entry.probability) == (first.features, first.probability)
        assert (entry.label, entry.role) == (first.label, "stable")
    told = client.post("/feedback", json={"prediction_id": ids(answers[2])[0], "outcome": "late"})
    assert told.status_code == 200


def test_newer_tables_are_answered_from_at_once(client: TestClient, world: World):
    before = [ask(client, ROW), ask(client, ROW)]
    small.write_weather(world.lake, -50.0)
    until(lambda: ask(client, ROW)["online"]["weather"]["version"] == "1")

    after = ask(client, ROW)

    low, high = before[1]["predictions"][0], after["predictions"][0]
    assert high["probability"] > low["probability"]
    assert values(ask(client, ROW)) == values(after)


def test_another_bundle_does_not_give_the_answers_of_the_one_before(world: World):
    stable, other = world.bundle(0.0), world.bundle(1.0)
    with served(world, stable) as client:
        before = [ask(client, ROW) for _ in range(2)]
        world.release(other)
        until(lambda: client.get("/release").json()["stable"] == other)
        after = [ask(client, ROW) for _ in range(2)]

        assert [a["predictions"][0]["label"] for a in before] == ["late"] * 2
        assert [a["predictions"][0]["label"] for a in after] == ["not late"] * 2
        assert looked_up(client) == (2, 2)


def test_a_split_and_a_shadow_are_logged_as_ever(world: World):
    stable, candidate = world.bundle(0.0), world.bundle(1.0)
    rows = [{**ROW, "distance": n, "due": f"2013-04-{n:02}T15:30:00Z"} for n in range(1, 13)]
    with served(world, stable, candidate, split=0.5, mode="ab") as client:
        answers = [ask(client, rows) for _ in range(2)]
        assert looked_up(client) == (2, 2)
        world.release(stable, candidate, 0.0, "shadow")
        until(lambda: client.get("/release").json()["mode"] == "shadow")
        answers += [ask(client, rows[:2]) for _ in range(2)]
        until(lambda: len(entries(world)) == 8)

    def shown(entry: Answered) -> tuple[Any, ...]:
        return entry.bundle, entry.role, entry.rows, entry.features, tuple(entry.label)

    records = entries(world)
    # Both bundles answer at the same time, so either may be the first in the log.
    assert {shown(e) for e in records[:2]} == {shown(e) for e in records[2:4]}
    assert {e.role for e in records[:4]} == {"stable", "candidate"}
    assert all(e.split is not None and e.split.share == 0.5 for e in records[:4])
    by_role = {role: [e for e in records[4:] if e.role == role] for role in ("stable", "shadow")}
    assert {role: {e.bundle for e in found} for role, found in by_role.items()} == {
        "stable": {stable},
        "shadow": {candidate},
    }
    given = {i for e in records if e.role != "shadow" for i in e.prediction_ids()}
    assert given == set(ids(*answers))


def test_nothing_is_kept_unless_a_setting_says_so(world: World, monkeypatch: pytest.MonkeyPatch):
    with served(world, world.bundle(0.6), cache=Settings().cache) as client:
        assert values(ask(client, ROW)) == values(ask(client, ROW))
        assert looked_up(client) == (0, 0)
        server: Any = client.app.state.server  # type: ignore[attr-defined]
        assert server.slot.submit == server.slot.batcher.submit
    monkeypatch.setenv("AI_ASSETS_CACHE", "100")
    assert Settings.from_environment().cache == 100
    with pytest.raises(BundleError, match="cache must be at least 0"):
        Settings(cache=-1)


def test_every_protocol_asks_the_same_cache(client: TestClient):
    columns = [
        {"name": "due", "shape": [1, 1], "datatype": "BYTES", "data": [ROW["due"]]},
        {"name": "place", "shape": [1, 1], "datatype": "BYTES", "data": ["EWR"]},
        {"name": "carrier", "shape": [1, 1], "datatype": "BYTES", "data": ["UA"]},
        {"name": "distance", "shape": [1, 1], "datatype": "INT64", "data": [1400]},
    ]
    vector = [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [0, 9, 10, 30]}]
    found = []
    for model, inputs in (("trips", columns), ("trips_vectors", vector)):
        for _ in range(2):
            answer = client.post(f"/v2/models/{model}/infer", json={"inputs": inputs})
            assert answer.status_code == 200, answer.text
            outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
            found.append((outputs["probability"], outputs["label"]))

    assert (found[0], found[2]) == (found[1], found[3])
    assert found[0][0] == [ask(client, ROW)["predictions"][0]["probability"]]
    assert looked_up(client) == (2, 3)


def scored(matrix: np.ndarray, snapshots: dict[str, Any] | None = None) -> Scored:
    """Answers to a matrix [n, f]: the sums of its rows."""
    sums = matrix.sum(axis=1)
    return Scored(
        1, matrix, sums, sums.tolist(), 0.5, {} if snapshots is None else snapshots, "trips:1", None
    )


class Scoring:
    """An engine whose tables a test exchanges, and how often it and the cache have answered."""

    def __init__(self) -> None:
        self.snapshots: dict[str, Any] = {}
        self.metrics, self.asked, self.hits = self, 0, 0
        self.meanwhile: Callable[[], None] = lambda: None

    def cached(self) -> None:
        self.hits += 1

    def count(self, _: Any) -> None:
        return None

    def not_cached(self) -> None:
        return None

    async def score(self, part: Any) -> Scored:
        self.asked += 1
        now = self.snapshots
        self.meanwhile()
        matrix = part if isinstance(part, np.ndarray) else part.to_numpy()
        return scored(matrix[:], now)


def asks(engine: Scoring, cache: Cache, parts: Sequence[Any]) -> list[tuple[int, int]]:
    """How often the model and the cache have answered after each part."""

    async def run() -> list[tuple[int, int]]:
        found = []
        for part in parts:
            await cache.answer(part)
            found.append((engine.asked, engine.hits))
        return found

    return asyncio.run(run())


def vector(*numbers: float) -> np.ndarray:
    return np.array([numbers], dtype=np.float32)


def test_it_is_bounded_and_forgets_what_was_not_asked_for_longest():
    engine = Scoring()
    cache = Cache(engine.score, engine, 2)  # type: ignore[arg-type]
    a, b, c = (vector(n) for n in range(3))

    found = asks(engine, cache, [a, b, a, c, a, b])

    assert found == [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (4, 2)]
    assert len(cache) == 2


def test_large_and_empty_requests_are_not_kept():
    engine = Scoring()
    cache = Cache(engine.score, engine, 2)  # type: ignore[arg-type]
    large, most = np.zeros((MOST_ROWS + 1, 1)), np.zeros((MOST_ROWS, 1))

    assert asks(engine, cache, [large, large, large[:0], large[:0]]) == [
        (n, 0) for n in range(1, 5)
    ]
    assert asks(engine, cache, [most, most]) == [(5, 0), (5, 1)]


def test_what_was_made_while_tables_were_exchanged_is_not_kept():
    engine, frame = Scoring(), pl.DataFrame({"x": [1.0]})
    cache = Cache(engine.score, engine, 2)  # type: ignore[arg-type]

    def exchange() -> None:
        engine.snapshots, engine.meanwhile = {}, lambda: None

    engine.meanwhile = exchange
    assert asks(engine, cache, [frame, frame, frame]) == [(1, 0), (2, 0), (2, 1)]


def test_what_is_kept_is_a_copy_that_nobody_can_change():
    engine, batch = Scoring(), np.arange(64, dtype=np.float32).reshape(32, 2)
    cache = Cache(engine.score, engine, 2)  # type: ignore[arg-type]

    async def run() -> Scored:
        await cache.answer(batch[3:5])
        batch[:] = -1
        return await cache.answer(np.array([[6, 7], [8, 9]], dtype=np.float32))

    found = asyncio.run(run())
    assert (found.features.tolist(), found.label) == ([[6, 7], [8, 9]], [13, 17])
    assert found.features.base is None
    with pytest.raises(ValueError, match="read-only"):
        found.probability[0] = 0


def test_a_refusal_is_not_kept():
    engine = Scoring()
    cache = Cache(engine.score, engine, 2)  # type: ignore[arg-type]

    def refuse() -> None:
        engine.meanwhile = lambda: None
        raise Refused(503, "Not now.")

    engine.meanwhile = refuse
    with pytest.raises(Refused):
        asks(engine, cache, [vector(1)])
    assert asks(engine, cache, [vector(1), vector(1)]) == [(2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (vector(0.0), vector(-0.0)),
        (vector(1, 2), np.array([[1], [2]], dtype=np.float32)),
        (vector(1), vector(1).astype(np.float64)),
        (pl.DataFrame({"x": [0.0]}), pl.DataFrame({"x": [-0.0]})),
        (pl.DataFrame({"x": ["a', 'b"]}), pl.DataFrame({"x": ["a", "b"]})),
        (pl.DataFrame({"x": [None]}), pl.DataFrame({"x": ["None"]})),
        (pl.DataFrame({"x": [1], "y": [2]}), pl.DataFrame({"y": [1], "x": [2]})),
    ],
)
def test_what_differs_has_another_key(one: Any, other: Any):
    assert key_of(one) != key_of(other)
    assert key_of(one) == key_of(one.clone() if isinstance(one, pl.DataFrame) else one.copy())
