"""An open server answers its own machine, and no pages of other sites."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from gated_app import Place, guarded
from starlette.websockets import WebSocketDisconnect

from ai_assets.serving.access.gate import Asked, Gate
from ai_assets.serving.access.sqlite import KeyFile


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_an_open_server_answers_its_own_machine_without_a_key(tmp_path: Path, host: str):
    gate = Gate("open", KeyFile(tmp_path / "none"))

    answer = TestClient(guarded(gate), client=(host, 1)).post("/predict")

    assert (answer.status_code, answer.json()) == (200, {"key": None})


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("10.0.0.7", {}),
        ("::ffff:10.0.0.7", {}),
        ("testclient", {}),
        ("", {}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"X-Real-IP": "127.0.0.1"}),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/healthz"])
def test_an_open_server_refuses_everybody_else(
    tmp_path: Path, host: str, headers: dict[str, str], path: str
):
    gate = Gate("open", KeyFile(tmp_path / "none"))

    answer = TestClient(guarded(gate), client=(host, 1)).get(path, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["error"] == "This server answers requests of its own machine only."


OWN = [
    {"Host": "localhost"},
    {"Host": "LOCALHOST:3000"},
    {"Host": "flights.localhost:3000"},
    {"Host": "127.0.0.1:3000", "Origin": "http://127.0.0.1:3000"},
    {"Host": "[::1]:3000", "Origin": "http://[::1]:3000"},
    {"Origin": "http://localhost:8080"},
]
OTHERS = [
    {"Origin": "http://evil.test"},
    {"Origin": "https://127.0.0.1.evil.test"},
    {"Origin": "http://127.0.0.1@evil.test"},
    {"Origin": "null"},
    {"Origin": "http://10.0.0.7:3000"},
    {"Origin": "http://[x"},
    {"Origin": ""},
    {"Host": "evil.test:3000"},
    {"Host": "localhost.evil.test"},
    {"Host": "notlocalhost"},
    {"Host": "0.0.0.0:3000"},
    {"Host": "[::1"},
]


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_an_open_server_answers_its_own_pages(tmp_path: Path, headers: dict[str, str]):
    client = TestClient(guarded(Gate("open", KeyFile(tmp_path / "none"))))

    assert client.post("/feedback", headers=headers).status_code == 200
    with client.websocket_connect("/stream", headers=headers) as socket:
        assert socket.receive_json() == {"key": None}


@pytest.mark.parametrize("path", ["/feedback", "/predict", "/explain", "/added", "/healthz"])
@pytest.mark.parametrize("headers", OTHERS, ids=str)
def test_an_open_server_refuses_pages_and_names_of_other_sites(
    tmp_path: Path, headers: dict[str, str], path: str
):
    client = TestClient(guarded(Gate("open", KeyFile(tmp_path / "none"))))
    typed = {**headers, "Content-Type": "text/plain"}

    answer = client.post(path, headers=typed)

    assert answer.status_code == 403
    assert answer.json()["error"] == (
        "This server is open, so pages and names of other sites are refused. Ask it as localhost "
        "or 127.0.0.1."
    )
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/stream", headers=headers):
        pass


def test_a_program_that_names_no_host_is_no_browser():
    assert not Asked.of([], "127.0.0.1").elsewhere
    assert Asked.of([(b"host", b"evil.test")], "127.0.0.1").elsewhere


def test_a_key_is_enough_from_any_page(place: Place):
    """A browser adds no key of its own accord, so what has one was meant."""
    _, header = place.key("predict")

    for headers in OTHERS:
        assert place.client.post("/predict", headers={**header, **headers}).status_code == 200
