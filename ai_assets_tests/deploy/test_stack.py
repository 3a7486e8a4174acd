"""What the stack is made of, without containers: its database, its Dagster behind its proxy."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from deploy_world import Secrets, free_ports, process, proxy
from postgres_server import PASSWORD, server
from websockets.sync.client import connect

DEFINITIONS = """
import dagster as dg

@dg.asset
def planes():
    return 1

defs = dg.Definitions(assets=[planes])
"""
BEHIND = ("grafana", "mlflow", "server")
OWN = {"dagster": "of-dagster", "mlflow": "of-mlflow", "served": "of-served"}


@pytest.fixture(scope="module")
def database(repo_root: Path) -> Iterator[Any]:
    """PostgreSQL, after the script that the image runs."""
    if shutil.which("psql") is None:
        pytest.skip("no psql on this machine: install the package 'postgresql'")
    with server() as running:
        subprocess.run(
            [repo_root / "deploy" / "postgres" / "databases.sh"],
            env={
                **os.environ,
                "PGHOST": "127.0.0.1", "PGPORT": str(running.port), "PGPASSWORD": PASSWORD,
                "POSTGRES_USER": "tester",
                **{f"{name.upper()}_DB_PASSWORD": word for name, word in OWN.items()},
            },
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        yield running


def url(database: Any, name: str, of: str = "") -> str:
    return f"postgresql://{name}:{OWN[name]}@127.0.0.1:{database.port}/{of or name}"


@pytest.fixture(scope="module")
def dagster(
    database: Any, repo_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of the stack's Dagster, with one asset to show."""
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(repo_root / "deploy" / "dagster.yaml", home)
    (home / "shown.py").write_text(DEFINITIONS, encoding="utf-8")
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DB_HOST": "127.0.0.1",
        "DAGSTER_DB_PORT": str(database.port),
        "DAGSTER_DB_PASSWORD": OWN["dagster"],
        "PYTHONPATH": str(repo_root),
    }


def test_who_uses_one_database_cannot_use_another(database: Any):
    for name in OWN:
        with psycopg.connect(url(database, name)) as own:
            assert own.execute("SELECT current_user").fetchone() == (name,)
        for other in set(OWN) - {name}:
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(url(database, name, of=other))


def test_the_database_is_not_made_without_its_passwords(repo_root: Path):
    done = subprocess.run(
        [repo_root / "deploy" / "postgres" / "databases.sh"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0
    assert "DAGSTER_DB_PASSWORD: the password of Dagster" in done.stderr


def test_the_stacks_instance_is_the_embedded_one_but_for_its_storage(repo_root: Path):
    stack, embedded = (
        yaml.safe_load((repo_root / path).read_text(encoding="utf-8"))
        for path in ("deploy/dagster.yaml", "dagster.yaml")
    )

    assert set(stack.pop("storage")) == {"postgres"}
    assert set(embedded.pop("storage")) == {"custom"}
    assert stack == embedded


def test_experiments_are_tracked_in_the_stacks_database(
    database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ai_assets.resources.tracking import ExperimentTracker

    place = url(database, "mlflow").replace("postgresql:", "postgresql+psycopg2:")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    tracker = ExperimentTracker(artifact_root=str(tmp_path))

    with tracker.run("trips", "model") as tracked:
        tracked.log_metrics({"log_loss": 0.5})
    version = tracker.follow("trips", "trips:1", str(tmp_path / "bundle"))

    with psycopg.connect(url(database, "mlflow")) as own:
        assert own.execute("SELECT key, value FROM metrics").fetchall() == [("log_loss", 0.5)]
        assert own.execute("SELECT status FROM runs").fetchall() == [("FINISHED",)]
    assert version == "1"


def test_dagsters_page_its_graphql_and_its_websocket_are_behind_the_login(
    dagster: dict[str, str], repo_root: Path, tmp_path: Path, stack_secrets: Secrets
):
    home = Path(dagster["DAGSTER_HOME"])
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "asset", "materialize", "-f", "shown.py",
         "--select", "planes"],
        cwd=home, env=dagster, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    trust = ssl.create_default_context(cafile=stack_secrets.folder / "secrets" / "tls.crt")
    login = (stack_secrets.user, stack_secrets.password)
    question = "{ assetNodes { assetKey { path } assetMaterializations { runId } } }"
    with (
        process([*command, "-f", "shown.py", "--path-prefix", "/dagster"], home, port, **dagster),
        proxy(
            repo_root, tmp_path, stack_secrets, {"dagster": port, **dict.fromkeys(BEHIND, 9)}
        ) as address,
        httpx.Client(base_url=address, verify=trust, timeout=60) as client,
    ):
        page = answered(client, "/dagster/", login)
        assert client.get("/dagster/").status_code == 401
        assert client.post("/dagster/graphql", json={"query": question}).status_code == 401
        assert client.get("/dagster/", auth=("ada", "guess")).status_code == 401
        assert page.status_code == 200
        assert "text/html" in page.headers["content-type"]
        asked = client.post(
            "/dagster/graphql", json={"query": question}, auth=login, headers={"Origin": address}
        )
        (node,) = asked.json()["data"]["assetNodes"]
        assert node["assetKey"]["path"] == ["planes"]
        assert len(node["assetMaterializations"]) == 1
        script = page.text.split('src="', 1)[1].split('"', 1)[0]
        assert script.startswith("/dagster/")
        assert client.get(script, auth=login).status_code == 200
        assert client.get(script).status_code == 401
        assert subscribed(address, trust, login) == {"type": "connection_ack"}


def answered(client: httpx.Client, path: str, login: tuple[str, str]) -> httpx.Response:
    """The answer, once the webserver behind gives one."""
    for _ in range(100):
        answer = client.get(path, auth=login)
        if answer.status_code != 502:
            return answer
        time.sleep(0.3)
    raise AssertionError("the webserver does not answer")


def subscribed(address: str, trust: ssl.SSLContext, login: tuple[str, str]) -> dict[str, Any]:
    """What the UI's WebSocket says first."""
    secret = base64.b64encode(":".join(login).encode()).decode()
    socket = connect(
        f"{address.replace('https', 'wss')}/dagster/graphql",
        ssl=trust,
        origin=address,
        additional_headers={"Authorization": f"Basic {secret}"},
        subprotocols=["graphql-ws"],
    )
    with socket as talking:
        talking.send(json.dumps({"type": "connection_init", "payload": {}}))
        return dict(json.loads(talking.recv(timeout=20)))
