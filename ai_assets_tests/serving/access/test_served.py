"""Access to a bundle that is really served."""

import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from loopback_issuer import AUDIENCE, issuer
from serving_processes import running, under_bentoml
from starlette.testclient import WebSocketDenialResponse

from ai_assets.serving.access.keys import new_key, split_token
from ai_assets.serving.access.limits import Rate
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings

SECONDS_TO_NOTICE = 5.0


def test_keys_are_asked_for_unless_a_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AI_ASSETS_ACCESS")

    assert Settings().access == Settings.from_environment().access == "keys"


def counted(client: httpx.Client, header: dict[str, str]) -> dict[tuple[str, str], float]:
    """How many requests each route has answered with each status."""
    line = re.compile(
        r'ai_assets_requests_total\{product="trips",route="(.+)",status="(\d+)"\} (.+)'
    )
    found = line.findall(client.get("/metrics", headers=header).text)
    return {(route, status): float(number) for route, status, number in found}


def test_who_is_not_let_in_is_counted_by_route_and_status_and_others_are_not(
    shared: Path, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
):
    store = KeyFile(tmp_path / "access.sqlite")
    (_, admin), (_, predict) = a_key(store, "admin"), a_key(store, "predict")
    key, token = new_key("bob", ["predict"], time.time(), rate=Rate(1, 3600))
    store.add(key)
    rare = {"X-API-Key": token}
    settings = Settings(lake=str(shared / "lake"), access="keys", keys=str(store.path))
    app = create_app(shared / "payload", settings)
    with TestClient(app) as client:
        assert client.post("/predict", json=small.ROW, headers=predict).status_code == 200
        client.get("/readyz")
        assert counted(client, admin) == {("predict", "200"): 1}
        for header in ({}, {}, rare, rare):
            client.post("/predict", json=small.ROW, headers=header)
        client.post("/explain", json=small.ROW, headers=predict)
        client.post("/v2/models/trips/versions/7/infer", json={})
        for n in range(3):
            client.get(f"/made/up/{n}")
        with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/stream"):
            pass
        gate = app.state.server.gate
        with monkeypatch.context() as broken:
            broken.setattr(gate._store, "revision", lambda: 1 / 0)
            broken.setattr(gate, "_looked", float("-inf"))
            assert client.post("/feedback", json={}, headers=predict).status_code == 503

        found = counted(client, admin)
        times = client.get("/metrics", headers=admin).text

    assert found == {
        ("predict", "200"): 2,
        ("predict", "401"): 2,
        ("predict", "429"): 1,
        ("explain", "403"): 1,
        ("v2/infer", "401"): 1,
        ("stream", "401"): 1,
        ("other", "401"): 3,
        ("feedback", "503"): 1,
    }
    assert 'ai_assets_request_seconds_count{product="trips",route="predict"} 2.0' in times
    assert 'route="other"' not in times.partition("ai_assets_request_seconds")[2]


def a_key(store: KeyFile, *scopes: str) -> tuple[str, dict[str, str]]:
    """A new key's id, and the header that carries its token."""
    key, token = new_key("ada", list(scopes), time.time())
    store.add(key)
    return key.id, {"X-API-Key": token}


def test_the_record_says_which_subject_of_the_identity_provider_asked(
    shared: Path, tmp_path: Path, free_port: int
):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    log = tmp_path / "log.sqlite"
    with issuer() as provider:
        environment = {
            "AI_ASSETS_LAKE": str(shared / "lake"),
            "AI_ASSETS_LOG": str(log),
            "AI_ASSETS_ACCESS": "keys",
            "AI_ASSETS_KEYS": str(tmp_path / "access.sqlite"),
            "AI_ASSETS_OIDC_ISSUER": provider.url,
            "AI_ASSETS_OIDC_AUDIENCE": AUDIENCE,
        }
        header = {"Authorization": f"Bearer {provider.token()}"}
        with running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment) as client:
            answers = [
                client.post(path, json=small.ROW, headers=header).status_code
                for path in ("/predict", "/explain")
            ]
            query = {"query": "{ model { name } }"}
            schema = client.post("/graphql", json=query, headers=header).status_code

    with sqlite3.connect(log) as record:
        told = record.execute("SELECT key_id FROM answers").fetchall()
    assert (answers, schema) == ([200, 403], 200)
    assert told == [("oidc:ada",)]


def test_a_running_server_takes_a_new_key_and_refuses_it_soon_after_it_is_revoked(
    shared: Path, tmp_path: Path, free_port: int
):
    store = KeyFile(tmp_path / "access.sqlite")
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(store.path),
    }

    with running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment) as client:
        assert client.post("/predict", json=small.ROW).status_code == 401
        key_id, header = a_key(store, "predict")
        time.sleep(1.2)
        answer = client.post("/predict", json=small.ROW, headers=header)
        forbidden = client.post("/explain", json=small.ROW, headers=header)
        store.revoke(key_id, time.time())
        end = time.monotonic() + SECONDS_TO_NOTICE
        while (last := client.post("/predict", json=small.ROW, headers=header)).is_success:
            assert time.monotonic() < end
            time.sleep(0.1)

    log = (tmp_path / "server.log").read_text()
    assert answer.json()["predictions"][0]["label"] == "late"
    assert (forbidden.status_code, last.status_code) == (403, 401)
    assert last.json()["error"] == f"The key {key_id} is revoked."
    assert "There is no key yet" in log
    _, secret = split_token(header["X-API-Key"])
    assert secret not in log


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_open_server_does_not_listen_to_others(shared: Path, host: str):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--host", host]

    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr == (
        "With AI_ASSETS_ACCESS=open the host must be of this machine, such as 127.0.0.1, but got "
        f"{host!r}. Make a key and set AI_ASSETS_ACCESS=keys to answer others.\n"
    )


@pytest.mark.slow
def test_bentomls_own_routes_are_behind_the_gate_too(shared: Path, tmp_path: Path, free_port: int):
    store = KeyFile(tmp_path / "access.sqlite")
    (_, admin), (_, predict) = a_key(store, "admin"), a_key(store, "predict")
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(store.path),
    }

    with under_bentoml(shared / "payload", tmp_path, free_port, environment) as (client, _):
        closed = {path: client.get(path).status_code for path in ("/", "/metrics", "/docs.json")}
        metrics = [client.get("/metrics", headers=h).status_code for h in (admin, predict)]
        health = [client.get(f"/{path}").status_code for path in ("healthz", "livez", "readyz")]
        refused = counted(client, admin)
        answer = client.post("/predict", json=small.ROW, headers=predict)

    assert set(closed.values()) == {401}
    assert refused == {("other", "401"): 2, ("metrics", "401"): 1, ("metrics", "403"): 1}
    assert metrics == [200, 403]
    assert health == [200, 200, 200]
    assert answer.json()["predictions"][0]["label"] == "late"
