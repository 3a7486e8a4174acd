"""Each refusal and each pass of the gate, over HTTP before a small app, with a clock of ours."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated_app import DAY, Place
from starlette.websockets import WebSocketDisconnect

from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.keys import AccessError, new_key, split_token
from ai_assets.serving.access.limits import Quota, Rate
from ai_assets.serving.access.sqlite import KeyFile


def test_who_sends_no_key_is_told_how_to(place: Place):
    answer = place.client.post("/predict")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ai_assets"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {
        "error": "A key is needed: send it as `Authorization: Bearer <key>` or as `X-API-Key`.",
        "details": [],
    }


def test_a_key_passes_in_either_header_and_is_known_to_the_app(place: Place):
    key_id, header = place.key("predict")
    token = header["Authorization"].removeprefix("Bearer ")

    for headers in (header, {"X-API-Key": token}, {"authorization": f"bearer  {token}"}):
        answer = place.client.post("/predict", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"key": key_id})


def test_a_key_beside_the_login_of_a_proxy_passes(place: Place):
    key_id, header = place.key("predict")
    both = {"Authorization": "Basic YTpi", "X-API-Key": header["Authorization"][7:]}

    assert place.client.post("/predict", headers=both).json() == {"key": key_id}


def test_two_keys_at_once_are_refused(place: Place):
    _, header = place.key("predict")

    answer = place.client.post(
        "/predict", headers={**header, "X-API-Key": header["Authorization"][7:]}
    )

    assert (answer.status_code, answer.json()["error"]) == (401, "The key must be sent once.")


@pytest.mark.parametrize(
    "wrong", ["", "x", "aia_1_2", "{token}x", "{token:.59}", "{other}", "aia_{id}_", "é"]
)
def test_a_wrong_token_is_refused_without_saying_what_is_wrong(place: Place, wrong: str):
    key_id, header = place.key("predict")
    token = header["Authorization"][7:]
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    sent = f"Bearer {wrong.format(token=token, other=other, id=key_id)}".encode()

    answer = place.client.post("/predict", headers={b"Authorization": sent})

    assert (answer.status_code, answer.json()["error"]) == (401, "The key is not valid.")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ai_assets", error="invalid_token"'


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/predict", "predict"),
        ("POST", "/v2/models/trips/infer", "predict"),
        ("POST", "/explain", "explain"),
        ("POST", "/feedback", "feedback"),
        ("GET", "/metrics", "admin"),
        ("POST", "/added", "admin"),
        ("POST", "/predict/", "admin"),
        ("POST", "/v2/models/a/b/infer", "admin"),
    ],
)
def test_a_path_needs_its_scope_and_the_refusal_names_it(
    place: Place, method: str, path: str, scope: str
):
    others = {"predict", "explain", "feedback", "admin"} - {scope}
    _, right = place.key(scope)
    key_id, wrong = place.key(*others)

    passed = place.client.request(method, path, headers=right, follow_redirects=False)
    refused = place.client.request(method, path, headers=wrong, follow_redirects=False)

    assert passed.status_code in (200, 307, 404)
    assert refused.status_code == 403
    words = f"The key {key_id} has not the scope '{scope}', which this needs."
    assert refused.json()["error"] == words
    challenge = f'Bearer realm="ai_assets", error="insufficient_scope", scope="{scope}"'
    assert refused.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("path", ["/schema", "/added"])
def test_what_is_only_read_needs_some_key(place: Place, path: str):
    key_id, header = place.key("feedback")

    assert place.client.get(path).status_code == 401
    assert place.client.get(path, headers=header).json() == {"key": key_id}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live"])
def test_health_needs_no_key(place: Place, path: str):
    assert place.client.get(path).json() == {"key": None}


def test_a_revoked_key_is_refused_within_a_second_and_others_pass(place: Place):
    key_id, header = place.key("predict")
    _, other = place.key("predict")
    assert place.client.post("/predict", headers=header).status_code == 200

    place.store.revoke(key_id, place.now)
    place.now += 1.0

    refused = place.client.post("/predict", headers=header)
    assert (refused.status_code, refused.json()["error"]) == (401, f"The key {key_id} is revoked.")
    assert place.client.post("/predict", headers=other).status_code == 200


def test_a_revoked_key_is_refused_though_the_clock_was_set_back(place: Place):
    key_id, header = place.key("predict")
    assert place.client.post("/predict", headers=header).status_code == 200

    place.store.revoke(key_id, place.now)
    place.now -= 3600

    assert place.client.post("/predict", headers=header).status_code == 401


def test_another_file_of_keys_in_its_place_is_read_though_it_changed_as_often(
    place: Place, tmp_path: Path
):
    _, old = place.key("predict")
    assert place.client.post("/predict", headers=old).status_code == 200

    beside = KeyFile(tmp_path / "restored.sqlite")
    key, token = new_key("bob", ["predict"], place.now)
    beside.add(key)
    beside.path.replace(place.store.path)
    place.now += 1.1

    assert place.client.post("/predict", headers=old).status_code == 401
    assert place.client.post("/predict", headers={"X-API-Key": token}).status_code == 200


def test_an_expired_key_is_refused(place: Place):
    key_id, header = place.key("predict", expires_at=place.now + 10)
    assert place.client.post("/predict", headers=header).status_code == 200

    place.now += 9

    refused = place.client.post("/predict", headers=header)
    assert (refused.status_code, refused.json()["error"]) == (401, f"The key {key_id} is expired.")


def test_a_rate_holds_for_each_key_alone_and_says_when_to_come_back(place: Place):
    key_id, header = place.key("predict", rate=Rate(2, 60))
    _, other = place.key("predict", rate=Rate(2, 60))

    answers = [place.client.post("/predict", headers=header) for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "30"
    assert (
        answers[2].json()["error"] == f"The key {key_id} may ask 2/min, and has. Try again later."
    )
    assert place.client.post("/predict", headers=other).status_code == 200
    place.now += 30
    assert place.client.post("/predict", headers=header).status_code == 200


def test_a_quota_is_counted_over_servers_and_begins_again(place: Place):
    key_id, header = place.key("predict", quota=Quota(3, DAY))
    place.now = 200.0 * DAY + 100
    beside = Place(place.store, now=place.now)

    codes = [p.client.post("/predict", headers=header).status_code for p in (place, beside) * 3]
    refused = place.client.post("/predict", headers=header)

    assert sorted(codes) == [200, 200, 200, 429, 429, 429]
    assert refused.json()["error"] == f"The quota of key {key_id}, 3/day, is used up."
    assert refused.headers["Retry-After"] == str(DAY - 100)
    place.now += DAY
    assert place.client.post("/predict", headers=header).status_code == 200


def test_nobody_passes_where_a_quota_cannot_be_counted(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def failing(error: Exception) -> Callable[..., int]:
        def lend(*_: Any) -> int:
            raise error

        return lend

    _, header = place.key("predict", quota=Quota(3, DAY))
    with monkeypatch.context() as away:
        away.setattr(place.store, "lend", failing(AccessError("The keys cannot be used.")))
        place.client.post("/predict", headers=header)
        away.setattr(place.store, "lend", failing(sqlite3.OperationalError("database is locked")))
        answer = place.client.post("/predict", headers=header)

    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "quotas cannot be counted: The keys cannot be used.",
        "quotas cannot be counted: OperationalError",
    ]
    assert (answer.status_code, answer.json()["error"]) == (503, "Quotas cannot be counted now.")
    assert answer.headers["Retry-After"] == "1"
    assert place.client.post("/predict", headers=header).status_code == 200


def test_what_is_refused_for_its_scope_costs_nothing(place: Place):
    _, header = place.key("explain", rate=Rate(1, DAY), quota=Quota(1, DAY))

    assert [place.client.post("/predict", headers=header).status_code for _ in range(3)] == [
        403
    ] * 3
    assert place.client.post("/explain", headers=header).status_code == 200


def test_nobody_passes_where_the_keys_cannot_be_read(place: Place):
    _, header = place.key("predict")
    assert place.client.post("/predict", headers=header).status_code == 200

    for path in place.store.path.parent.iterdir():
        path.write_bytes(b"no database" * 1000)
    place.now += 1.1

    answer = place.client.post("/predict", headers=header)
    assert (answer.status_code, answer.json()["error"]) == (503, "Keys cannot be checked now.")
    assert answer.headers["Retry-After"] == "1"


def test_no_log_and_no_answer_holds_a_secret(place: Place, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    key_id, header = place.key("predict", rate=Rate(1, DAY))
    _, secret = split_token(header["Authorization"].removeprefix("Bearer "))
    sent = [header, header, {"X-API-Key": f"aia_{key_id}_{secret}x"}, {"X-API-Key": secret}]

    answers = [place.client.post("/predict", headers=h) for h in sent]
    answers.append(place.client.post("/explain", headers=header))
    place.store.revoke(key_id, place.now)
    place.now += 1.1
    answers.append(place.client.post("/predict", headers=header))

    assert [a.status_code for a in answers] == [200, 429, 401, 401, 403, 401]
    assert f"refused key {key_id}, which has no scope explain" in caplog.text
    assert f"refused key {key_id}, which is revoked" in caplog.text
    told = caplog.text + "".join(a.text + str(a.headers) for a in answers)
    assert secret[:20] not in told


def test_a_websocket_passes_the_same_gate(place: Place):
    key_id, header = place.key("predict")

    with place.client.websocket_connect("/stream", headers=header) as socket:
        assert socket.receive_json() == {"key": key_id}
    with pytest.raises(WebSocketDisconnect), place.client.websocket_connect("/stream"):
        pass


def test_another_word_for_access_is_refused(tmp_path: Path):
    with pytest.raises(AccessError, match="AI_ASSETS_ACCESS must be one of 'keys', 'open'"):
        Gate("none", KeyFile(tmp_path / "none"))


def test_a_server_says_in_its_log_that_it_is_open_or_has_no_key(
    place: Place, caplog: pytest.LogCaptureFixture
):
    place.gate.announce()
    assert "There is no key yet" in caplog.text

    caplog.clear()
    place.key("predict")
    place.gate.announce()
    assert caplog.text == ""

    Gate("open", place.store).announce()
    assert "AI_ASSETS_ACCESS=open" in caplog.text
