"""Access to a bundle that is really served."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_payload as small
from loopback_issuer import AUDIENCE, issuer
from serving_processes import running

from ai_assets.resources.bundles import BundleStore
from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.store import KeyStore
from ai_assets.serving.settings import Settings

SECONDS_TO_NOTICE = 5.0


def test_keys_are_asked_for_unless_a_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AI_ASSETS_ACCESS")

    assert Settings().access == Settings.from_environment().access == "keys"


def a_key(store: KeyStore, *scopes: str) -> tuple[str, dict[str, str]]:
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
    store = KeyStore(tmp_path / "access.sqlite")
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
    assert header["X-API-Key"].rpartition("_")[2] not in log


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
    bundles = BundleStore(home=str(tmp_path / "home"))
    bento = bundles.path(bundles.build(shared / "payload"))
    store = KeyStore(tmp_path / "access.sqlite")
    (_, admin), (_, predict) = a_key(store, "admin"), a_key(store, "predict")
    command = ["bentoml", "serve", str(bento), "--host", "127.0.0.1", "--port", str(free_port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(store.path),
        "BENTOML_HOME": str(tmp_path / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
    }

    with running(command, f"http://127.0.0.1:{free_port}", tmp_path, environment) as client:
        closed = {path: client.get(path).status_code for path in ("/", "/metrics", "/docs.json")}
        metrics = [client.get("/metrics", headers=h).status_code for h in (admin, predict)]
        health = [client.get(f"/{path}").status_code for path in ("healthz", "livez", "readyz")]
        answer = client.post("/predict", json=small.ROW, headers=predict)

    assert set(closed.values()) == {401}
    assert metrics == [200, 403]
    assert health == [200, 200, 200]
    assert answer.json()["predictions"][0]["label"] == "late"
