"""A server follows the release; a bundle that cannot be served never takes one down that can."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.signer import Signer
from ai_assets.serving.app import create_app
from ai_assets.serving.record.store import open_store

ROW = small.ROW
FOLLOWED = "ai_assets_release_problem"


def bundle_of(client: TestClient) -> str:
    """The bundle that answers now."""
    answer = client.post("/predict", json=ROW)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["bundle"])


def problem_of(client: TestClient) -> float:
    lines = client.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(FOLLOWED + "{")]
    return float(line.split()[-1])


def test_a_new_release_answers_on_every_way_in(world: World):
    one, two = world.bundle(0.6), world.bundle(0.9)
    world.release(one)
    with TestClient(create_app(None, world.settings())) as client:
        before = client.post("/predict", json=ROW).json()
        told = client.get("/openapi.json").json()["info"]["version"]
        assert (before["bundle"], before["predictions"][0]["label"]) == (one, "late")

        world.release(two)
        until(lambda: bundle_of(client) == two)

        after = client.post("/predict", json=ROW).json()
        assert after["predictions"][0]["label"] == "not late"
        assert client.post("/explain", json=ROW).json()["bundle"] == two
        assert client.get("/schema").json()["threshold"] == 0.9
        vector = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2, 3]}
        tensors = client.post("/v2/models/trips_vectors/infer", json={"inputs": [vector]}).json()
        assert tensors["model_version"] == two.partition(":")[2]
        assert client.get("/openapi.json").json()["info"]["version"] != told
        assert client.get("/release").json() == {
            "stable": two, "candidate": None, "split": 0.0, "mode": "", "problem": None,
        }  # fmt: skip
        metrics = client.get("/metrics").text
        labels = 'ai_assets_bundle{{bundle="{}",product="trips",role="stable"}}'
        assert f"{labels.format(two)} 1.0" in metrics
        assert f"{labels.format(one)} 0.0" in metrics
        for answer in (before, after):
            outcome = {"prediction_id": answer["predictions"][0]["prediction_id"], "outcome": True}
            assert client.post("/feedback", json=outcome).status_code == 200

    store = open_store(str(world.folder / "log.sqlite"))
    assert {entry.bundle for entry in store.answers((None, None))} == {one, two}
    assert set(store.descriptions()) == {one, two}


def unreadable_model(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no model")


def missing_table(folder: Path) -> None:
    online = {"weather": {"path": "trips/online/nothing", "key": []}}
    (folder / "online.json").write_text(json.dumps(online))


BAD: dict[str, tuple[Callable[[World], str], str]] = {
    "changed": (lambda w: _changed(w), "features.sql was changed after the bundle was signed"),
    "not built": (lambda w: "trips:2013-05-01-0123456789ab", "A bundle must be a folder"),
    "no model": (lambda w: w.bundle(0.7, unreadable_model), "model.onnx cannot be read"),
    "no table": (lambda w: w.bundle(0.7, missing_table), "There is no table at"),
    "another": (lambda w: _another(w), "which is not what was released"),
}


def _changed(world: World) -> str:
    """Somebody changes a file after it was signed."""
    tag = world.bundle(0.77)
    path = world.payload(tag) / "features.sql"
    path.write_bytes(path.read_bytes() + b" ")
    return tag


def _another(world: World) -> str:
    """Somebody puts a bundle that is signed in the place of the one that was released."""
    tag = world.bundle(0.7)
    world.payload(world.bundle(0.71)).rename(world.folder / "other")
    world.payload(tag).rename(world.folder / "away")
    (world.folder / "other").rename(world.payload(tag))
    return tag


@pytest.mark.parametrize("case", BAD)
def test_a_bad_bundle_is_named_and_the_old_one_goes_on(world: World, case: str):
    make, words = BAD[case]
    good, bad, next_one = world.bundle(0.6), make(world), world.bundle(0.8)
    world.release(good)
    with TestClient(create_app(None, world.settings())) as client:
        assert problem_of(client) == 0
        world.release(bad)
        problem = until(lambda: client.get("/release").json()["problem"])

        assert f"{bad} cannot be served" in problem and words in problem
        assert bundle_of(client) == good
        assert client.get("/readyz").status_code == 200
        assert problem_of(client) == 1

        world.release(next_one)
        until(lambda: bundle_of(client) == next_one)
        until(lambda: problem_of(client) == 0)
        assert client.get("/release").json()["problem"] is None


def test_a_release_that_another_key_has_signed_is_not_served_where_one_is_trusted(world: World):
    good = world.bundle(0.6)
    trusted = Signer(key_path=str(world.folder / "key.pem")).public_key()
    (world.folder / "key.pem").rename(world.folder / "own.pem")
    forged = world.bundle(0.7)
    world.release(good)
    with TestClient(create_app(None, world.settings(trusted_key=trusted))) as client:
        world.release(forged)
        problem = until(lambda: client.get("/release").json()["problem"])

        assert f"{forged} cannot be served" in problem and f"only {trusted} is trusted" in problem
        assert bundle_of(client) == good

    # Unset, as good as any.
    with TestClient(create_app(None, world.settings())) as client:
        assert bundle_of(client) == forged


def test_while_no_key_is_named_yet_a_server_does_not_start(world: World):
    world.release(world.bundle(0.6))

    with pytest.raises(BundleError, match="but only unset is trusted"):
        create_app(None, world.settings(trusted_key="unset"))


def test_what_could_not_be_loaded_is_tried_again(world: World):
    good, bad = world.bundle(0.6), world.bundle(0.7)
    world.release(good)
    model = world.payload(bad) / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content + b"x")
    with TestClient(create_app(None, world.settings())) as client:
        world.release(bad)
        until(lambda: problem_of(client) == 1)

        model.write_bytes(content)

        until(lambda: bundle_of(client) == bad)
        until(lambda: problem_of(client) == 0)


def test_a_bad_candidate_leaves_the_stable_bundle_alone(world: World):
    good, better, bad = world.bundle(0.6), world.bundle(0.7), _changed(world)
    world.release(good, bad, 0.5, "ab")
    with TestClient(create_app(None, world.settings())) as client:
        problem = until(lambda: client.get("/release").json()["problem"])
        assert bad in problem
        assert {bundle_of(client) for _ in range(8)} == {good}

        world.release(better, bad, 0.5, "ab")

        until(lambda: bundle_of(client) == better)
        assert client.get("/release").json()["candidate"] is None


@pytest.mark.parametrize("part", ["stable", "candidate"])
def test_a_release_of_which_a_part_failed_can_be_taken_back(world: World, part: str):
    good, better, bad = world.bundle(0.6), world.bundle(0.7), _changed(world)
    released = {"stable": (bad, better), "candidate": (better, bad)}[part]
    world.release(good)
    with TestClient(create_app(None, world.settings())) as client:
        world.release(*released, 0.5, "ab")
        until(lambda: problem_of(client) == 1)

        world.release(good)

        until(lambda: problem_of(client) == 0)
        assert client.get("/release").json() == {
            "stable": good, "candidate": None, "split": 0.0, "mode": "", "problem": None,
        }  # fmt: skip
        assert {bundle_of(client) for _ in range(8)} == {good}


def test_a_server_does_not_begin_with_a_bad_bundle(world: World):
    world.release(_changed(world))

    with pytest.raises(BundleError, match=r"features\.sql was changed"):
        create_app(None, world.settings())


def test_while_the_ledger_cannot_be_read_the_old_bundle_goes_on(world: World):
    one, two = world.bundle(0.6), world.bundle(0.7)
    world.release(one)
    ledger, away = world.lake / "trips/release", world.folder / "away"
    with TestClient(create_app(None, world.settings())) as client:
        ledger.rename(away)
        until(lambda: problem_of(client) == 1)
        assert bundle_of(client) == one

        away.rename(ledger)
        world.release(two)

        until(lambda: bundle_of(client) == two)


def test_rows_read_for_one_bundle_are_read_anew_for_another(world: World):
    declared = small.tables()
    columns = dict(declared["trips"].columns)
    columns["weight"] = columns["weight"].model_copy(update={"max": 10.0})
    declared["trips"] = declared["trips"].model_copy(update={"columns": columns})
    one, two = world.bundle(0.6), world.bundle(0.6, declared=declared)
    world.release(one)
    with TestClient(create_app(None, world.settings())) as client:
        assert client.post("/predict", json={**ROW, "weight": 20}).status_code == 200
        server: Any = client.app.state.server  # type: ignore[attr-defined]
        rows = server.reader.rows(json.dumps({**ROW, "weight": 20}).encode())
        fine = server.reader.rows(json.dumps({**ROW, "weight": 5}).encode())

        world.release(two)
        until(lambda: bundle_of(client) == two)

        assert client.post("/predict", json={**ROW, "weight": 20}).status_code == 400
        with pytest.raises(Exception, match="weight must be at most 10"):
            server.slot.taking(rows)
        (row,) = server.slot.taking(fine)
        assert type(row) is server.reader.model and row.f_weight == 5
        (again,) = server.slot.taking([row])
        assert again is row
