"""The shipped proxy: nobody sees a user interface without a login, and callers of the API may."""

import base64
import http.client
import socket
import ssl
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from deploy_world import Secrets, free_ports, process, proxy
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_within

ELSEWHERE = {
    "/": 302, "/dagster": 301, "/graphql": 404, "/DAGSTER/": 404, "/server_info": 404,
    "/secrets/tls.key": 404, "/nginx.conf": 404,
}  # fmt: skip
# A machine that does much else may stand still for a while; no test is about that.
connect = partial(connect_within, open_timeout=60)
UIS = ("dagster", "grafana", "mlflow")


@pytest.fixture(scope="module")
def address(
    repo_root: Path, tmp_path_factory: pytest.TempPathFactory, stack_secrets: Secrets
) -> Iterator[str]:
    """The proxy, with one app behind every name."""
    folder = tmp_path_factory.mktemp("proxy")
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "behind:app", "--port", str(port)]
    here = str(Path(__file__).parent)
    with (
        process([*command, "--app-dir", here], folder, port),
        proxy(repo_root, folder, stack_secrets, dict.fromkeys((*UIS, "server"), port)) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def trust(stack_secrets: Secrets) -> ssl.SSLContext:
    """Trusts the stack's own certificate."""
    return ssl.create_default_context(cafile=stack_secrets.folder / "secrets" / "tls.crt")


@pytest.fixture
def client(address: str, trust: ssl.SSLContext) -> Iterator[httpx.Client]:
    """A client that has not logged in."""
    with httpx.Client(base_url=address, verify=trust) as made:
        yield made


def login(secrets: Secrets) -> tuple[str, str]:
    return (secrets.user, secrets.password)


@pytest.mark.parametrize("name", UIS)
def test_a_user_interface_is_seen_with_the_login_only(
    client: httpx.Client, stack_secrets: Secrets, name: str
):
    path = f"/{name}/a/page"
    wrong = [(stack_secrets.user, "guess"), ("eve", stack_secrets.password), ("", "")]

    without = client.get(path)
    refused = [client.get(path, auth=guess).status_code for guess in wrong]
    seen = client.post(path, auth=login(stack_secrets), content="asked")

    assert (without.status_code, refused) == (401, [401, 401, 401])
    assert without.headers["www-authenticate"] == 'Basic realm="ai_assets"'
    assert seen.status_code == 200
    told = seen.json()
    assert (told["path"], told["body"]) == (path, "asked")
    assert (told["x-forwarded-user"], told["x-forwarded-proto"]) == ("ada", "https")
    assert "authorization" not in told


@pytest.mark.parametrize(
    "path",
    [
        "/", "/graphql", "/dagster", "/dagster/graphql", "//dagster/", "/api/../dagster/",
        "/api/..%2fdagster/", "/api/%2e%2e/dagster/graphql", "/proxy_health/../dagster/",
        "/dagster/./", "/DAGSTER/", "/mlflow/api/2.0/mlflow/experiments/search",
        "/grafana/api/health", "/server_info", "/secrets/tls.key", "/nginx.conf",
    ],
)  # fmt: skip
def test_there_is_no_way_round_the_login(address: str, trust: ssl.SSLContext, path: str):
    parts = urlsplit(address)
    for headers in ({}, {"X-Forwarded-User": "ada"}, {"X-Original-URL": "/api/x"}):
        # A client that sends the path as it stands.
        caller = http.client.HTTPSConnection(parts.hostname, parts.port, context=trust)
        caller.request("GET", path, headers=headers)
        answer = caller.getresponse()
        body = answer.read()
        caller.close()
        # What is nobody's page is not found, or leads to where the login is.
        assert answer.status == ELSEWHERE.get(path, 401)
        assert b'"path"' not in body


def test_the_api_asks_for_its_own_keys_and_does_not_show_its_metrics(client: httpx.Client):
    answer = client.post(
        "/api/predict", content="{}", headers={"Authorization": "Bearer aia_1_2", "X-API-Key": "k"}
    ).json()
    hidden = [
        client.get(f"/api{path}").status_code for path in ("/metrics", "//metrics", "/./metrics")
    ]

    assert (answer["path"], answer["body"]) == ("/predict", "{}")
    assert (answer["authorization"], answer["x-api-key"]) == ("Bearer aia_1_2", "k")
    assert answer["x-forwarded-for"] == "127.0.0.1"
    assert hidden == [404, 404, 404]
    assert client.get("/proxy_health").text == "ok\n"


def test_a_page_of_another_site_cannot_use_the_login(
    client: httpx.Client, stack_secrets: Secrets, address: str
):
    foreign = ("https://evil.example", "null", address.replace("https", "http"), f"{address}0")
    statuses = [
        client.post(
            "/dagster/graphql", auth=login(stack_secrets), headers={"Origin": origin}
        ).status_code
        for origin in foreign
    ]
    own = client.post("/dagster/graphql", auth=login(stack_secrets), headers={"Origin": address})

    assert statuses == [403] * 4
    assert own.status_code == 200


def test_websockets_pass_with_the_login_and_from_the_own_page_only(
    address: str, trust: ssl.SSLContext, stack_secrets: Secrets
):
    url = f"{address.replace('https', 'wss')}/dagster/graphql"
    secret = base64.b64encode(":".join(login(stack_secrets)).encode()).decode()
    known = {"Authorization": f"Basic {secret}"}

    with connect(url, ssl=trust, additional_headers=known, origin=address) as talking:
        talking.send("hello")
        assert talking.recv(timeout=10) == "hello"
    for headers, origin, status in ((None, address, 401), (known, "https://evil.example", 403)):
        with pytest.raises(InvalidStatus) as refused:
            connect(url, ssl=trust, additional_headers=headers, origin=origin)
        assert refused.value.response.status_code == status


def test_a_row_of_a_stream_is_answered_before_the_next_is_sent(address: str, trust: ssl.SSLContext):
    with connect(f"{address.replace('https', 'wss')}/api/stream", ssl=trust) as talking:
        for row in ("first", "second"):
            talking.send(row)
            assert talking.recv(timeout=10) == row


def test_answers_carry_the_headers_that_browsers_heed(client: httpx.Client):
    for path in ("/dagster/", "/api/x", "/proxy_health"):
        headers = client.get(path).headers
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["server"] == "nginx"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_only_tls_of_today_is_spoken(address: str):
    parts = urlsplit(address)
    assert parts.hostname and parts.port
    plain = httpx.get(f"http://{parts.hostname}:{parts.port}/dagster/")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    assert plain.status_code == 400
    with socket.create_connection((parts.hostname, parts.port)) as raw, pytest.raises(ssl.SSLError):
        old.wrap_socket(raw)


def test_who_guesses_passwords_is_told_to_wait(client: httpx.Client):
    statuses = [client.get("/dagster/", auth=("ada", f"guess {n}")).status_code for n in range(500)]

    assert set(statuses) == {401, 429}
    # What callers ask of the API is not held back by it.
    assert client.get("/api/x").status_code == 200


def test_without_its_certificate_or_its_users_the_proxy_lets_nobody_in(
    repo_root: Path, tmp_path: Path, stack_secrets: Secrets, trust: ssl.SSLContext
):
    with proxy(repo_root, tmp_path, stack_secrets, dict.fromkeys((*UIS, "server"), 9)) as address:
        (tmp_path / "proxy" / "secrets" / "users.htpasswd").unlink()
        answer = httpx.get(f"{address}/dagster/", auth=login(stack_secrets), verify=trust)
        nobody = httpx.get(f"{address}/dagster/", verify=trust)

    assert (answer.status_code, nobody.status_code) == (403, 401)
