"""TLS and mutual TLS of a served bundle, over HTTP and gRPC."""

import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import pytest
import small_payload as small
from serving_processes import running
from test_certificates import Authority

from ai_assets.serving.access.keys import AccessError
from ai_assets.serving.access.tls import Tls, leave_to_bentoml
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.settings import Settings


def trusting(authority: Authority, *client: Path) -> ssl.SSLContext:
    """Trusts the authority, and shows a certificate if there is one."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if client:
        context.load_cert_chain(*client)
    return context


def live_over_grpc(port: int, *parts: bytes | None) -> bool:
    """Whether the server says over gRPC that it lives; parts as `ssl_channel_credentials`."""
    with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(*parts)) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerLive",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pb.ServerLiveResponse.FromString,
        )
        return bool(call(pb.ServerLiveRequest(), timeout=10).live)


def refused_over_grpc(port: int, *parts: bytes | None) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        live_over_grpc(port, *parts)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_server_speaks_tls_over_http_and_grpc(
    shared: Path, tmp_path: Path, free_port: int, another_free_port: int
):
    authority, foreign = Authority(tmp_path), Authority(tmp_path, "foreign")
    certificate, key = authority.issue("server")
    command = [
        "ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port),
        "--grpc-port", str(another_free_port),
        "--tls-cert", str(certificate), "--tls-key", str(key),
    ]  # fmt: skip
    environment = {"AI_ASSETS_LAKE": str(shared / "lake")}
    url = f"https://127.0.0.1:{free_port}"

    with running(command, url, tmp_path, environment, trusting(authority)) as client:
        answer = client.post("/predict", json=small.ROW)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{free_port}/livez")
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{url}/livez", verify=trusting(foreign))
        assert live_over_grpc(another_free_port, authority.certificate.read_bytes())
        refused_over_grpc(another_free_port, foreign.certificate.read_bytes())
        with grpc.insecure_channel(f"127.0.0.1:{another_free_port}") as plain:
            ready = grpc.channel_ready_future(plain)
            with pytest.raises(grpc.FutureTimeoutError):
                ready.result(timeout=1)

    assert answer.json()["predictions"][0]["label"] == "late"


def test_with_an_authority_of_clients_nobody_connects_without_its_certificate(
    shared: Path, tmp_path: Path, free_port: int, another_free_port: int
):
    authority, clients, foreign = (Authority(tmp_path, n) for n in ("own", "clients", "foreign"))
    certificate, key = authority.issue("server")
    ada, eve = clients.issue("ada"), foreign.issue("eve")
    command = [
        "ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port),
        "--grpc-port", str(another_free_port),
    ]  # fmt: skip
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_TLS_CERT": str(certificate),
        "AI_ASSETS_TLS_KEY": str(key),
        "AI_ASSETS_TLS_CLIENT_CA": str(clients.certificate),
    }
    url = f"https://127.0.0.1:{free_port}"
    root = authority.certificate.read_bytes()

    with ExitStack() as stack:
        known = trusting(authority, *ada)
        client = stack.enter_context(running(command, url, tmp_path, environment, known))
        answer = client.post("/predict", json=small.ROW)
        for context in (trusting(authority), trusting(authority, *eve)):
            with pytest.raises(httpx.TransportError):
                httpx.post(f"{url}/predict", json=small.ROW, verify=context)
        assert live_over_grpc(another_free_port, root, ada[1].read_bytes(), ada[0].read_bytes())
        refused_over_grpc(another_free_port, root)
        refused_over_grpc(another_free_port, root, eve[1].read_bytes(), eve[0].read_bytes())

    assert answer.status_code == 200


def test_a_certificate_of_a_client_is_no_key(shared: Path, tmp_path: Path, free_port: int):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    known = trusting(authority, *authority.issue("ada"))
    command = [
        "ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(free_port),
        "--tls-cert", str(certificate), "--tls-key", str(key),
        "--tls-client-ca", str(authority.certificate),
    ]  # fmt: skip
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_ACCESS": "keys",
        "AI_ASSETS_KEYS": str(tmp_path / "keys.sqlite"),
    }

    with running(command, f"https://127.0.0.1:{free_port}", tmp_path, environment, known) as client:
        assert client.post("/predict", json=small.ROW).status_code == 401


def test_without_the_settings_there_is_no_tls():
    assert Tls.of(Settings()) is None
    leave_to_bentoml(Settings())


def test_what_does_not_belong_together_is_told(tmp_path: Path):
    authority = Authority(tmp_path)
    (one, one_key), (_, other_key) = authority.issue("one"), authority.issue("other")
    _, locked = authority.issue("locked", password=b"secret")
    empty = tmp_path / "empty.crt"
    empty.write_text("")

    def asked(cert: Path | str = one, key: Path | str = one_key, ca: Path | str = "") -> Settings:
        return Settings(tls_cert=str(cert), tls_key=str(key), tls_client_ca=str(ca))

    for settings, says in (
        (asked(key=""), "give both --tls-cert and --tls-key"),
        (asked(cert=""), "give both --tls-cert and --tls-key"),
        (asked("", "", one), "give both --tls-cert and --tls-key"),
        (asked(cert="/nowhere/x.crt"), "/nowhere/x.crt cannot be read: No such file"),
        (asked(key=other_key), "and its key without a password"),
        (asked(key=locked), "and its key without a password"),
        (asked(key=one), "and its key without a password"),
        (asked(ca=empty), "empty.crt must hold certificates in PEM"),
    ):
        with pytest.raises(AccessError, match=says):
            Tls.of(settings)
    assert Tls.of(asked(ca=one)) is not None


def test_a_wrong_certificate_ends_the_start_with_one_sentence(shared: Path):
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--tls-cert", "/no.crt"]

    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("TLS needs a certificate and its key")
    assert done.stderr.count("\n") == 1


def test_under_bentoml_the_settings_are_refused_and_its_own_named():
    with pytest.raises(AccessError, match="bentoml serve --ssl-certfile"):
        leave_to_bentoml(Settings(tls_cert="x"))
