"""The order in which a server starts: verify, load in the background, rehearse, answer."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.signer import Signer
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.serving.start import Start


def test_verifying_a_bundle_imports_nothing_that_scores(shared: Path):
    code = (
        "import sys\n"
        "from ai_assets.serving.app import create_app\n"
        f"app = create_app({str(shared / 'payload')!r})\n"
        "heavy = {'fastapi', 'pydantic', 'numpy', 'polars', 'duckdb', 'onnxruntime', 'deltalake',"
        " 'pyarrow', 'psycopg', 'jwt', 'ai_assets.serving.access.oidc'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_byte_is_refused_before_anything_is_loaded(payload: Path):
    model = payload / "model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)

    with pytest.raises(BundleError, match=r"^model\.onnx was changed after the bundle was signed"):
        Start(payload, Settings())


def test_a_signed_file_that_cannot_be_read_is_named_by_whoever_waits(tmp_path: Path):
    folder = small.write_payload(tmp_path / "payload")
    (folder / "encoding.json").write_text("[]")
    Signer(key_path=str(tmp_path / "key.pem")).sign(folder, small.FACTS)
    start = Start(folder, Settings(lake=str(tmp_path)))

    start.begin()

    for _ in range(2):
        with pytest.raises(BundleError, match=r"encoding\.json cannot be read"):
            start.wait()


def test_what_answers_is_loaded_once(shared: Path):
    start = Start(shared / "payload", Settings(lake=str(shared / "lake")))

    start.begin()
    start.begin()

    assert start.wait() is start.wait()
    assert start.wait().bundle.product == start.manifest["product"] == "trips"


def test_the_first_answer_finds_a_statement_that_is_prepared(shared: Path):
    loaded = Start(shared / "payload", Settings(lake=str(shared / "lake"))).wait()

    query = loaded.engine.scorer._query

    assert query is not None and query._snapshot.ready is not None
    assert "ai_assets_batch_rows_count" not in loaded.metrics.text().decode()


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_again_where_it_was_before(shared: Path, collects: bool):
    (gc.enable if collects else gc.disable)()
    try:
        Start(shared / "payload", Settings(lake=str(shared / "lake"))).wait()

        assert gc.isenabled() == collects
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()


def test_a_server_that_takes_requests_looks_for_garbage_more_rarely(shared: Path):
    before = gc.get_threshold()
    try:
        gc.set_threshold(700, 9, 8)
        with TestClient(create_app(shared / "payload")):
            assert gc.get_threshold() == (10_000, 9, 8)
    finally:
        gc.set_threshold(*before)


def test_a_server_is_ready_without_pyarrow(shared: Path):
    code = (
        "import os, sys\n"
        "from ai_assets.serving.app import create_app\n"
        f"engine = create_app({str(shared / 'payload')!r}).state.server.engine\n"
        "engine.check()\n"
        "os._exit(7 if 'pyarrow' in sys.modules else 0)"
    )
    lake = os.environ | {"AI_ASSETS_LAKE": str(shared / "lake")}

    done = subprocess.run([sys.executable, "-c", code], env=lake, timeout=60, check=False)

    assert done.returncode == 0


def test_an_app_that_nobody_started_starts_with_its_first_request(shared: Path):
    client = TestClient(create_app(shared / "payload", Settings(lake=str(shared / "lake"))))

    assert client.post("/predict", json=small.ROW).status_code == 200


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs.json", "/openapi.json"])
def test_the_pages_for_people_are_made_when_asked_for(client: TestClient, page: str):
    answer = client.get(page)

    assert answer.status_code == 200
    assert "trips" in answer.text


def test_bentomls_page_shows_what_openapi_says(client: TestClient):
    assert client.get("/docs.json").json() == client.get("/openapi.json").json()


def test_a_path_that_there_is_not_is_refused_like_anything_else(client: TestClient):
    missing, wrong = client.get("/nothing"), client.get("/predict")

    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert json.loads(missing.text) == {"error": "Not Found", "details": []}
