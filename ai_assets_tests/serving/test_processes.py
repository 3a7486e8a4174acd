"""The bundle as it runs in production: under BentoML, and under an ASGI server directly."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import small_payload as small
from release_worlds import World, until
from serving_processes import running, under_bentoml

from ai_assets.doctor.place import Place
from ai_assets.resources.bundles import BundleStore
from ai_assets.serving.record.store import open_store


def test_a_damaged_bundle_is_not_served_and_the_file_is_named(payload: Path):
    (payload / "features.sql").write_text("SELECT 1")

    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.serving", "--bundle", str(payload)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == "features.sql was changed after the bundle was signed.\n"


def test_a_server_is_not_where_the_graphs_ui_is(repo_root: Path):
    told = subprocess.run(
        [sys.executable, "-m", "ai_assets.serving", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    default = re.search(r"port to listen on; default: (\d+)", told)
    ui = re.search(r"^PORT \?= (\d+)$", (repo_root / "Makefile").read_text(), re.MULTILINE)

    assert default is not None and ui is not None
    assert default.group(1) != ui.group(1)
    # What `make doctor` looks at, and Prometheus is told to scrape.
    assert int(default.group(1)) in Place.ports
    scraped = (repo_root / "deploy" / "monitoring" / "prometheus.yml").read_text()
    assert f"127.0.0.1:{default.group(1)}" in scraped


def test_the_app_runs_without_bentoml(shared: Path, tmp_path: Path, free_port: int):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    environment = {"AI_ASSETS_LAKE": str(shared / "lake")}

    with running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment) as client:
        answer = client.post("/predict", json=small.ROW)

        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["label"] == "late"
        assert client.post("/predict", json={}).status_code == 400


def test_serving_imports_only_what_the_bundle_installs():
    code = (
        "import sys, ai_assets.serving.app, ai_assets.lifecycle.features.prepared\n"
        "heavy = {'dagster', 'mlflow', 'torch', 'sklearn', 'lightgbm', 'evidently', 'pandas',"
        " 'bentoml', 'prometheus_client', 'optuna', 'matplotlib', 'yaml'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_bento_answers_over_http_and_shows_our_metrics(
    shared: Path, tmp_path: Path, free_port: int
):
    (tmp_path / "metrics").mkdir()
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }

    with under_bentoml(shared / "payload", tmp_path, free_port, environment) as (client, _):
        answer = client.post("/predict", json=[small.ROW] * 2)
        refused = client.post("/predict", json={**small.ROW, "place": "EWK"})
        metrics = client.get("/metrics").text
        card = client.get("/model_card").text
        page = client.get("/docs.json").json()

    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 2
    assert "Did you mean 'EWR'?" in refused.json()["error"]
    assert 'route="predict",status="200"' in metrics
    assert "bentoml_service_request_total" in metrics
    assert card == "# Trips\n"
    assert page["paths"]["/predict"]["post"]["requestBody"]


@pytest.mark.slow
def test_a_bento_that_is_told_a_product_follows_its_release(tmp_path: Path, free_port: int):
    world = World(tmp_path / "world")
    built, released, next_one = world.bundle(0.6), world.bundle(0.9), world.bundle(0.5)
    world.release(released)
    environment = {**world.environment(), "AI_ASSETS_PRODUCT": "trips"}

    with under_bentoml(world.payload(built), tmp_path, free_port, environment) as (client, _):
        first = client.post("/predict", json=small.ROW).json()
        vector = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2, 3]}
        tensors = client.post("/v2/models/trips_vectors/infer", json={"inputs": [vector]}).json()
        world.release(next_one)
        until(lambda: client.post("/predict", json=small.ROW).json()["bundle"] == next_one)
        then = client.post("/predict", json=small.ROW).json()

    assert (first["bundle"], first["predictions"][0]["label"]) == (released, "not late")
    assert tensors["model_version"] == released.partition(":")[2]
    assert (then["bundle"], then["predictions"][0]["label"]) == (next_one, "late")
    entries = open_store(str(world.folder / "log.sqlite")).answers((None, None))
    assert {entry.bundle for entry in entries} == {released, next_one}


@pytest.mark.slow
def test_a_damaged_bento_does_not_start(shared: Path, tmp_path: Path, free_port: int):
    store = BundleStore(home=str(tmp_path / "home"))
    tag = store.build(shared / "payload")
    (store.payload(tag) / "decision.json").write_text("{}")
    command = ["bentoml", "serve", str(store.path(tag)), "--port", str(free_port)]
    environment = {"BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}

    with (
        pytest.raises(AssertionError, match=r"decision\.json was changed"),
        running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment),
    ):
        pass
