"""A candidate that encodes otherwise gets rows, but no ready vectors: their codes mean others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from release_worlds import World, until

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.serving.app import create_app
from ai_assets.serving.record.store import open_store

VECTOR = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 9, 9, 9]}


def other_codes(folder: Path) -> None:
    """As many columns, but the numbers of the places mean others."""
    places = small.FEATURES.with_columns(place=pl.Series(["BOS", "EWR", "JFK"]))
    (folder / "encoding.json").write_text(Encoding.fit(places).to_json(), encoding="utf-8")


@pytest.fixture
def asked(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[TestClient, str, Any]]:
    """A server that was asked with ready vectors, then a row, beside one that encodes otherwise."""
    mode, split = request.param
    stable, candidate = world.bundle(0.0), world.bundle(1.0, other_codes)
    world.release(stable, candidate, split, mode)
    with TestClient(create_app(None, world.settings())) as client:
        until(lambda: client.get("/release").json()["candidate"] == candidate)
        given = client.post("/v2/models/trips_vectors/infer", json={"inputs": [VECTOR]}).json()
        assert client.post("/predict", json=small.ROW).status_code == 200
        log = open_store(str(world.folder / "log.sqlite"))
        until(lambda: any(e.bundle == candidate for e in log.answers((None, None))))
        theirs = [e.route for e in log.answers((None, None)) if e.bundle == candidate]
        yield given["model_version"], stable.partition(":")[2], theirs


@pytest.mark.parametrize("asked", [("ab", 1.0), ("shadow", 0.0)], indirect=True)
def test_ready_vectors_stay_with_the_bundle_whose_codes_they_have(asked: Any):
    answered_by, stable, theirs = asked

    assert answered_by == stable
    assert theirs == ["predict"]
