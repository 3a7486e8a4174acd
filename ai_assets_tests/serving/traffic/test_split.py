"""Rows are shared out between two bundles: sticky, in order, and as the log can tell again."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.serving.app import create_app
from ai_assets.serving.record.answers import Answered
from ai_assets.serving.record.store import Store, open_store
from ai_assets.serving.traffic import router
from ai_assets.serving.traffic.assign import assigned, assigned_again

ROWS: list[dict[str, Any]] = [
    {**small.ROW, "due": f"2013-04-{1 + day:02}T{hour:02}:30:00Z", "distance": 100 + 10 * day}
    for day in range(10)
    for hour in (8, 9)
]
FEW = 0.3


class Pair:
    """A server with a stable bundle and a candidate, which gets a share of the rows."""

    def __init__(self, world: World, client: TestClient, tags: Sequence[str]) -> None:
        self.world, self.client = world, client
        self.stable, self.candidate = tags

    def ask(self, rows: Any) -> dict[str, Any]:
        answer = self.client.post("/predict", json=rows)
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def release(self, split: float, mode: str = "ab") -> None:
        self.world.release(self.stable, self.candidate, split, mode)
        shown = {"split": split, "mode": mode, "candidate": self.candidate}
        until(lambda: shown.items() <= self.client.get("/release").json().items())

    def log(self) -> Store:
        return open_store(str(self.world.folder / "log.sqlite"))

    def entries(self) -> list[Answered]:
        return list(self.log().answers((None, None)))

    def bundle_of_each(self, rows: list[dict[str, Any]]) -> list[str]:
        """The bundle that answers each row, asked one by one."""
        return [str(self.ask(row)["bundle"]) for row in rows]


@pytest.fixture
def pair(world: World) -> Iterator[Pair]:
    """Thresholds of 0 and 1: the stable bundle calls every trip late, the candidate none."""
    stable, candidate = world.bundle(0.0), world.bundle(1.0)
    world.release(stable)
    with TestClient(create_app(None, world.settings(max_rows=50))) as client:
        made = Pair(world, client, (stable, candidate))
        made.release(FEW)
        yield made


def check_log(pair: Pair) -> None:
    """Every role of the log is the one that its key gives."""
    described = pair.log().descriptions()
    for entry in pair.entries():
        assert assigned_again(entry, described) == [entry.role] * entry.rows


def test_a_request_of_many_rows_is_answered_by_both_in_its_order(pair: Pair):
    answer = pair.ask(ROWS)

    expected = [
        pair.candidate
        if assigned("trips", pair.candidate, f'{{"due": "{due}", "carrier": "UA"}}') < FEW
        else pair.stable
        for due in (row["due"].replace("Z", "+00:00") for row in ROWS)
    ]
    found = answer["predictions"]
    assert [one["bundle"] for one in found] == expected
    assert 2 <= expected.count(pair.candidate) <= 10
    assert [one["label"] for one in found] == [
        "late" if tag == pair.stable else "not late" for tag in expected
    ]
    assert [one["threshold"] for one in found] == [float(tag != pair.stable) for tag in expected]
    assert (answer["bundle"], answer["model"]) == (pair.stable, "2013-04-01")
    alone = [pair.ask(row)["predictions"][0] for row in ROWS]
    assert [one["probability"] for one in alone] == pytest.approx(
        [one["probability"] for one in found]
    )
    assert [one["label"] for one in alone] == [one["label"] for one in found]
    assert all("bundle" not in one for one in alone)
    check_log(pair)
    first = {entry.role: entry for entry in pair.entries()[:2]}
    ids = {i for entry in first.values() for i in entry.prediction_ids()}
    assert ids == {one["prediction_id"] for one in found}
    assert first["candidate"].split == first["stable"].split
    assert (first["candidate"].bundle, first["stable"].bundle) == (pair.candidate, pair.stable)


def test_a_wider_split_keeps_those_that_the_candidate_had(pair: Pair):
    before = pair.bundle_of_each(ROWS)
    again = pair.bundle_of_each(ROWS)
    pair.release(0.6, "canary")
    wider = pair.bundle_of_each(ROWS)

    assert before == again
    assert before.count(pair.candidate) < wider.count(pair.candidate) < len(ROWS)
    for one, other in zip(before, wider, strict=True):
        assert other == pair.candidate or one == pair.stable
    check_log(pair)
    shares = {(e.split.share, e.split.mode) for e in pair.entries() if e.split}
    assert shares == {(FEW, "ab"), (0.6, "canary")}


def test_what_is_promoted_was_loaded_before(pair: Pair):
    loaded: Any = pair.client.app.state.server.router.now.candidate  # type: ignore[attr-defined]
    pair.world.release(pair.candidate)
    until(lambda: set(pair.bundle_of_each(ROWS)) == {pair.candidate})

    assert pair.client.app.state.server.slot is loaded  # type: ignore[attr-defined]
    assert pair.entries()[-1].split is None


def tensors() -> list[dict[str, Any]]:
    kinds = {"due": "BYTES", "place": "BYTES", "carrier": "BYTES", "distance": "INT64"}
    return [
        {"name": name, "datatype": kind, "shape": [len(ROWS)], "data": [r[name] for r in ROWS]}
        for name, kind in kinds.items()
    ]


def test_columns_are_shared_out_as_rows_are(pair: Pair):
    by_rows = [one["bundle"] for one in pair.ask(ROWS)["predictions"]]
    asked = {"inputs": tensors(), "outputs": [{"name": "bundle"}, {"name": "label"}]}

    answer = pair.client.post("/v2/models/trips/infer", json=asked).json()

    outputs = {one["name"]: one["data"] for one in answer["outputs"]}
    assert outputs["bundle"] == by_rows
    assert outputs["label"] == ["late" if t == pair.stable else "not late" for t in by_rows]
    plain = pair.client.post("/v2/models/trips/infer", json={"inputs": tensors()}).json()
    names = [one["name"] for one in plain["outputs"]]
    assert names == ["probability", "label", "prediction_id"]
    check_log(pair)


def test_ready_vectors_are_assigned_by_the_id_of_their_request(pair: Pair):
    vector = {"name": "features", "datatype": "FP32", "shape": [2, 4], "data": [0, 9, 9, 9] * 2}
    found = []
    for _ in range(30):
        answer = pair.client.post("/v2/models/trips_vectors/infer", json={"inputs": [vector]})
        found.append(answer.json()["model_version"])

    versions = [tag.partition(":")[2] for tag in (pair.stable, pair.candidate)]
    assert set(found) == set(versions)
    check_log(pair)
    entries = pair.entries()
    assert {e.split.by for e in entries if e.split} == {"request"}
    assert [e.bundle.partition(":")[2] for e in entries] == found


def broken_model(folder: Path) -> None:
    """A model that opens, but fails on every row: it multiplies matrices that do not fit."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(small.np.ones((9, 1), small.np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "broken",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())


def wants_weight(declared: dict[str, Any]) -> dict[str, Any]:
    """A declaration that asks for more than callers send."""
    columns = dict(declared["trips"].columns)
    columns["weight"] = columns["weight"].model_copy(update={"nullable": False})
    return {**declared, "trips": declared["trips"].model_copy(update={"columns": columns})}


def test_where_the_candidate_cannot_answer_the_stable_bundle_does(pair: Pair):
    pair.candidate = pair.world.bundle(0.4, declared=wants_weight(small.tables()))
    pair.release(FEW)

    answer = pair.ask(ROWS)

    assert {one["label"] for one in answer["predictions"]} == {"late"}
    assert {one["bundle"] for one in answer["predictions"]} == {pair.stable}
    rows = [{**row, "weight": 3.5} for row in ROWS]
    assert {one["bundle"] for one in pair.ask(rows)["predictions"]} == {pair.stable, pair.candidate}
    check_log(pair)
    fallen = [e for e in pair.entries() if e.split and e.split.fell_back]
    assert [e.role for e in fallen] == ["stable"]
    metrics = pair.client.get("/metrics").text
    assert f'ai_assets_candidate_failed_rows_total{{product="trips"}} {fallen[0].rows}.0' in metrics


def test_a_model_that_fails_on_every_row_never_becomes_a_candidate(pair: Pair):
    bad = pair.world.bundle(0.4, broken_model)

    pair.world.release(pair.stable, bad, 0.9, "ab")

    problem = until(lambda: pair.client.get("/release").json()["problem"])
    assert bad in problem
    assert set(pair.bundle_of_each(ROWS)) == {pair.stable}


def test_a_candidate_that_hangs_leaves_the_stable_bundle_time_to_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    stable, candidate, let = world.bundle(0.0), world.bundle(1.0), threading.Event()
    world.release(stable, candidate, 1.0, "ab")
    given: list[tuple[str, float]] = []
    within = router._within

    async def noted(seconds: float, slot: Any, part: Any) -> Any:
        given.append((slot.bundle.tag, seconds))
        return await within(seconds, slot, part)

    monkeypatch.setattr(router, "_within", noted)
    with TestClient(create_app(None, world.settings(max_seconds=2.0))) as client:
        pair = Pair(world, client, (stable, candidate))
        pair.release(1.0)
        assert pair.ask(ROWS[0])["bundle"] == candidate
        assert given == [(candidate, 1.0)]

        batcher = client.app.state.server.router.now.candidate.batcher  # type: ignore[attr-defined]
        score = batcher._score
        batcher._score = lambda parts: let.wait(60) and score(parts)
        try:
            assert pair.ask(ROWS[0])["bundle"] == stable
        finally:
            let.set()

    assert [tag for tag, _ in given] == [candidate, candidate, stable]
    assert 0 < given[2][1] <= 1.0
    assert [e.split.fell_back for e in pair.entries() if e.split] == [False, True]


def test_rows_that_are_wrong_are_the_callers_fault_in_either_bundle(pair: Pair):
    pair.release(1.0)

    assert pair.client.post("/predict", json={**ROWS[0], "place": "EWK"}).status_code == 400
    assert 'failed_rows_total{product="trips"} 0.0' in pair.client.get("/metrics").text
