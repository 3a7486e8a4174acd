"""What the page says of the server, held against the server by schemathesis."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_payload as small
from serving_processes import running

from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.sqlite import KeyFile

TOOL = Path(sys.executable).with_name("schemathesis")


def held_against(url: str, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """All checks of the tool on all that the page describes."""
    return subprocess.run(
        [
            str(TOOL), "run", f"{url}/openapi.json", "--checks", "all", "--seed", "20131",
            "--max-examples", "60", "--no-color", *options,
        ],
        cwd=folder,
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("of", ["shared", "of_classes"])
def test_the_server_answers_as_its_page_says(
    request: pytest.FixtureRequest, of: str, tmp_path: Path, free_port: int
):
    shared: Path = request.getfixturevalue(of)
    url = f"http://127.0.0.1:{free_port}"
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port)]
    store = KeyFile(tmp_path / "access.sqlite")
    key, token = new_key("ada", ["predict", "explain", "feedback", "admin"], time.time())
    store.add(key)
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(store.path),
        "AI_ASSETS_LOG": str(tmp_path / "log.sqlite"),
    }

    with running(command, url, tmp_path, environment):
        # The tool cannot write NDJSON.
        found = held_against(
            url, tmp_path, "-H", f"Authorization: Bearer {token}", "--exclude-path", "/stream"
        )

    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "Tested: 11" in found.stdout


def test_a_server_that_answers_otherwise_is_found(shared: Path, tmp_path: Path, free_port: int):
    """The same tool, and a server whose answers lack what the page says they have."""
    url = f"http://127.0.0.1:{free_port}"
    (tmp_path / "wrong.py").write_text(
        "import sys\n"
        "from ai_assets.serving.app import Server\n"
        "from ai_assets.serving.__main__ import main\n"
        "right = Server.content\n"
        "Server.content = lambda *a: {**right(*a), 'predictions': 'none'}\n"
        "sys.exit(main())\n"
    )
    environment = {"AI_ASSETS_LAKE": str(shared / "lake"), "AI_ASSETS_LOG_MODE": "off"}
    command = ["wrong", "--bundle", str(shared / "payload"), "--port", str(free_port)]

    with running(command, url, tmp_path, environment):
        found = held_against(url, tmp_path, "--include-path", "/predict", "--phases", "examples")

    assert found.returncode == 1
    assert "predictions" in found.stdout


@pytest.mark.parametrize("value", [1400.0, 1400])
def test_a_whole_number_may_be_written_with_a_point(client: object, value: float):
    answer = client.post("/predict", json={**small.ROW, "distance": value})  # type: ignore[attr-defined]

    assert answer.status_code == 200
