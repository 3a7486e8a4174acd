"""The bundle's container, without an engine: the steps of its Dockerfile, done in a folder.

What the image would hold is all that the server gets: an environment with the Bento's own
requirements, its files, its entrypoint, and none of our variables.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import small_payload as small
from fastapi.testclient import TestClient

from ai_assets.resources.bundles import BundleStore
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets_tests.processes import stop

HEAVY = ("dagster", "mlflow", "torch", "evidently", "sklearn", "lightgbm", "psycopg", "grpc")
READY_WITHIN_S = 90

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bento(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bento of the small bundle."""
    store = BundleStore(home=str(tmp_path_factory.mktemp("home")))
    return Path(store.path(store.build(shared / "payload")))


@pytest.fixture(scope="module")
def dockerfile(bento: Path) -> str:
    """The Dockerfile that BentoML wrote."""
    return (bento / "env" / "docker" / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image(bento: Path, dockerfile: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker build` would make: `venv` and the Bento's files."""
    (requirements,) = re.findall(r"pip install -r \$BENTO_PATH/(\S+)", dockerfile)
    folder = tmp_path_factory.mktemp("image")
    uv = str(Path(sys.executable).with_name("uv"))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"uv venv --python {python} " in dockerfile
    subprocess.run([uv, "venv", "-q", "--python", python, folder / "venv"], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "-q", "--python", folder / "venv", "-r", bento / requirements],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if "Failed to fetch" in done.stderr:
        pytest.skip(f"packages cannot be had here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    subprocess.run(["cp", "-r", bento, folder / "bento"], check=True)
    return folder


def test_what_the_dockerfile_copies_and_runs_is_there(bento: Path, dockerfile: str):
    copied = re.findall(r"^COPY --chown=\S+ (\S+) (\S+)$", dockerfile, re.MULTILINE)
    (entrypoint,) = re.findall(r'^ENTRYPOINT \[ "(\S+)" \]$', dockerfile, re.MULTILINE)

    assert [source for source, _ in copied] == ["./env/docker", "./env/python", "."]
    assert all((bento / source).is_dir() for source, _ in copied)
    assert (bento / entrypoint.removeprefix("/home/bentoml/bento/")).is_file()
    assert re.search(r"^USER bentoml$", dockerfile, re.MULTILINE)


def test_the_image_answers_as_the_bundle_does_and_holds_nothing_to_train_with(
    image: Path, shared: Path, tmp_path: Path, free_port: int
):
    settings = Settings(lake=str(shared / "lake"), access="open", log=str(tmp_path / "here.sqlite"))
    with TestClient(create_app(shared / "payload", settings)) as client:
        here = client.post("/predict", json=small.ROW).json()["predictions"][0]

    entrypoint = image / "bento" / "env" / "docker" / "entrypoint.sh"
    environment = {
        "PATH": f"{image / 'venv' / 'bin'}:/usr/bin:/bin",
        "VIRTUAL_ENV": str(image / "venv"),
        "HOME": str(tmp_path),
        "BENTO_PATH": str(image / "bento"),
        "BENTOML_HOME": str(tmp_path),
        "BENTOML_DO_NOT_TRACK": "True",
        "AI_ASSETS_HOME": str(tmp_path / "state"),
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "open",
    }
    command = ["bash", str(entrypoint), "serve", "--host", "127.0.0.1", "--port", str(free_port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=image / "bento", env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            there = predicted(free_port, process, tmp_path / "log")
        finally:
            stop(process)

    assert there["probability"] == pytest.approx(here["probability"], abs=1e-6)
    assert (there["label"], there["threshold"]) == (here["label"], here["threshold"])
    find = f"from importlib.util import find_spec as f; print([n for n in {HEAVY} if f(n)])"
    found = subprocess.run(
        [image / "venv" / "bin" / "python", "-c", find],
        capture_output=True, text=True, check=True, env=environment, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert json.loads(found.replace("'", '"')) == []


def predicted(port: int, process: "subprocess.Popen[bytes]", log: Path) -> dict[str, float]:
    """The answer to one row, once the server is ready."""
    end = time.monotonic() + READY_WITHIN_S
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        while time.monotonic() < end and process.poll() is None:
            try:
                if client.get("/readyz").status_code == 200:
                    answer = client.post("/predict", json=small.ROW)
                    assert answer.status_code == 200, answer.text
                    found: dict[str, float] = answer.json()["predictions"][0]
                    return found
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise AssertionError(f"not ready in time:\n{log.read_text()[-3000:]}")
