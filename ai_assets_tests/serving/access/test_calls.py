"""gRPC calls pass the same gate as requests over HTTP."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from fastapi.testclient import TestClient
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ai_assets.serving.access.calls import asked_in, call_needs, host_of
from ai_assets.serving.access.keys import AccessError, new_key
from ai_assets.serving.access.rules import Need
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.app import create_app
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.settings import Settings

SERVICE = "/inference.GRPCInferenceService"


@dataclass
class Context:
    """What a gRPC server knows of a call."""

    metadata: tuple[tuple[str, str | bytes], ...]
    address: str = "ipv4:127.0.0.1:4242"

    def invocation_metadata(self) -> Any:
        return self.metadata

    def peer(self) -> str:
        return self.address


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:4242", "10.0.0.7"),
        ("ipv6:%5B::1%5D:4242", "::1"),
        ("ipv6:[2001:db8::1]:4242", "2001:db8::1"),
        ("unix:/tmp/x", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_peer_is_read(peer: str, host: str):
    assert host_of(peer) == host


def test_the_token_of_a_call_is_in_its_metadata():
    sent = (("x-api-key", "one"), ("authorization", "Bearer two"), ("blob-bin", b"\xff"))

    asked = asked_in(Context(sent))

    assert (asked.tokens, asked.host, asked.forwarded) == (["one", "two"], "127.0.0.1", False)
    assert asked_in(Context((("x-forwarded-for", "1.2.3.4"),))).forwarded


def test_a_call_that_is_not_listed_needs_admin():
    assert call_needs("ModelInfer") == Need(True, "predict")
    assert call_needs("Added") == Need(True, "admin")


@pytest.fixture(scope="module")
def served(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, KeyFile]]:
    """The port of a gRPC server that asks for keys, and its keys."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    store = KeyFile(tmp_path_factory.mktemp("keys") / "access.sqlite")
    settings = Settings(
        lake=str(shared / "lake"), access="keys", keys=str(store.path), grpc_port=port
    )
    with TestClient(create_app(shared / "payload", settings)):
        yield port, store


def call(port: int, method: str, request: Any, answer: Any, token: str = "") -> Any:
    """Call, with a token if there is one."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = channel.unary_unary(
            f"{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return stub(request, metadata=metadata, timeout=30)


def test_a_call_needs_its_scope(served: tuple[int, KeyFile]):
    port, store = served
    tokens = {}
    for scope in ("predict", "explain"):
        key, tokens[scope] = new_key(scope, [scope], time.time())
        store.add(key)
    time.sleep(1.2)
    infer = ("ModelInfer", pb.ModelInferRequest(model_name="no"), pb.ModelInferResponse)
    told = {}
    for name, token in {"none": "", "wrong": "aia_1_2", **tokens}.items():
        with pytest.raises(grpc.RpcError) as refused:
            call(port, *infer, token=token)
        told[name] = (refused.value.code(), refused.value.details())

    codes = grpc.StatusCode
    assert told["none"][0] == told["wrong"][0] == codes.UNAUTHENTICATED
    assert told["wrong"][1] == "The key is not valid."
    assert told["explain"][0] == codes.PERMISSION_DENIED
    assert told["predict"][0] == codes.NOT_FOUND
    about = call(
        port,
        "ServerMetadata",
        pb.ServerMetadataRequest(),
        pb.ServerMetadataResponse,
        tokens["explain"],
    )
    assert about.name == "ai_assets"


def test_health_over_grpc_needs_no_key(served: tuple[int, KeyFile]):
    port, _ = served

    assert call(port, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        state = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert state.status == health_pb2.HealthCheckResponse.SERVING


def test_an_open_server_does_not_serve_grpc_to_others(shared: Path, free_port: int):
    settings = Settings(
        lake=str(shared / "lake"), access="open", grpc_host="0.0.0.0", grpc_port=free_port
    )

    with (
        pytest.raises(AccessError, match="the host must be of this machine"),
        TestClient(create_app(shared / "payload", settings)),
    ):
        pass
