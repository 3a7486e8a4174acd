"""Open Inference Protocol v2 over gRPC, asked by Triton's and by gRPC's own health client."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import small_payload as small
from fastapi.testclient import TestClient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from v2_requests import MOST_ROWS, ROWS, expected, inputs, served_by_both

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.protocols import beside
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.scoring import Scorer
from ai_assets.serving.settings import Settings

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def both(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, int]]:
    with served_by_both(shared, tmp_path_factory.mktemp("v2")) as found:
        yield found


@pytest.fixture
def triton(both: tuple[httpx.Client, int]) -> Iterator[Any]:
    """Triton's client."""
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(f"127.0.0.1:{both[1]}") as client:
        yield client


@pytest.fixture
def channel(both: tuple[httpx.Client, int]) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{both[1]}") as opened:
        yield opened


def test_the_client_finds_server_and_models(triton: Any):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata().name == "ai_assets"

    model = triton.get_model_metadata("trips")
    assert triton.is_model_ready("trips", model.versions[0])
    assert [(i.name, i.datatype, list(i.shape)) for i in model.inputs][:4] == [
        ("due", "BYTES", [-1]), ("place", "BYTES", [-1]), ("carrier", "BYTES", [-1]),
        ("distance", "INT64", [-1]),
    ]  # fmt: skip
    (matrix,) = triton.get_model_metadata("trips_vectors").inputs
    assert (matrix.name, matrix.datatype, list(matrix.shape)) == ("features", "FP32", [-1, 4])


def test_columns_get_the_answers_that_predict_gives(triton: Any, both: tuple[httpx.Client, int]):
    from tritonclient.grpc import InferInput

    result = triton.infer("trips", inputs(InferInput, ROWS), request_id="mine")

    offline = expected(both[0], ROWS)
    assert result.get_response().id == "mine"
    probabilities = [answer["probability"] for answer in offline]
    assert result.as_numpy("probability") == pytest.approx(probabilities, abs=1e-12)
    assert result.as_numpy("label").tolist() == [answer["label"].encode() for answer in offline]
    assert len(set(result.as_numpy("prediction_id").tolist())) == 3


def test_ready_vectors_are_scored_as_the_model_scores_them(triton: Any, shared: Path):
    from tritonclient.grpc import InferInput, InferRequestedOutput

    scorer = Scorer(load_bundle(shared / "payload"))
    matrix = scorer.bundle.encoding.transform(small.FEATURES)
    tensor = InferInput("features", list(matrix.shape), "FP32")
    tensor.set_data_from_numpy(matrix)

    result = triton.infer("trips_vectors", [tensor], outputs=[InferRequestedOutput("probability")])

    own = scorer.score_matrix(matrix).probability
    assert result.as_numpy("probability").tolist() == own.tolist()
    assert result.as_numpy("label") is None


def tensor(name: str, datatype: str, field: str, values: list[Any], size: int | None = None) -> Any:
    """An input with its elements in a typed list."""
    found = pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=[len(values) if size is None else size]
    )
    getattr(found.contents, field).extend(values)
    return found


def sized(count: int) -> Any:
    """A request for ready vectors, raw, whose one tensor has so many sizes."""
    found = pb.ModelInferRequest(model_name="trips_vectors", raw_input_contents=[b"0000"])
    found.inputs.add(name="features", datatype="FP32", shape=[2**31 - 1] * count)
    return found


def typed(**changes: Any) -> Any:
    """A good request of two rows in typed lists, some of them otherwise; None leaves one out."""
    given = {
        "due": tensor("due", "BYTES", "bytes_contents", [b"2013-04-10T15:30:00Z"] * 2),
        "place": tensor("place", "BYTES", "bytes_contents", [b"EWR", b"JFK"]),
        "carrier": tensor("carrier", "BYTES", "bytes_contents", [b"UA"] * 2),
        "distance": tensor("distance", "INT32", "int_contents", [1400, 200]),
        "first": tensor("first", "BOOL", "bool_contents", [True, False]),
    }
    sent = [found for found in (given | changes).values() if found is not None]
    return pb.ModelInferRequest(model_name="trips", inputs=sent)


def called(channel: grpc.Channel, method: str, request: Any, answer: Any) -> Any:
    call = channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=bytes if isinstance(request, bytes) else type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )
    return call(request, timeout=10)


def test_typed_lists_are_answered_by_typed_lists(
    channel: grpc.Channel, both: tuple[httpx.Client, int]
):
    found = called(channel, "ModelInfer", typed(), pb.ModelInferResponse)

    rows = [small.ROW, {**small.ROW, "place": "JFK", "distance": 200}]
    offline = expected(both[0], rows)
    assert not found.raw_output_contents
    probability, label, _ = found.outputs
    assert list(probability.contents.fp64_contents) == pytest.approx(
        [answer["probability"] for answer in offline], abs=1e-12
    )
    assert list(label.contents.bytes_contents) == [a["label"].encode() for a in offline]


def raw_and_typed() -> Any:
    found = typed()
    found.raw_input_contents.extend([b""] * len(found.inputs))
    return found


def raw_of_one() -> Any:
    found = typed()
    found.raw_input_contents.append(b"")
    return found


def other_output() -> Any:
    found = typed()
    found.outputs.add(name="labels")
    return found


def row_count(count: int) -> Any:
    return tensor("place", "BYTES", "bytes_contents", [b"EWR"] * count)


BAD: dict[str, tuple[Any, str]] = {
    "no message": (b"\xff\xff", "must be inference.ModelInferRequest"),
    "no inputs": (pb.ModelInferRequest(model_name="trips"), "at least one input"),
    "no datatype": (typed(place=tensor("place", "TEXT", "bytes_contents", [b"a", b"b"])), "one of"),
    "negative shape": (
        typed(place=tensor("place", "BYTES", "bytes_contents", [b"a"], size=-1)), "list of sizes"
    ),
    "very many sizes": (sized(500), "shape must have at most 8 sizes, but has 500"),
    "very large sizes": (sized(8), f"must be {4 * (2**31 - 1) ** 8} bytes, but there are 4"),
    "another list": (
        typed(distance=tensor("distance", "INT64", "fp32_contents", [1.0, 2.0])),
        "INT64 must come in int64_contents, not in fp32_contents",
    ),
    "list of FP16": (
        typed(distance=tensor("distance", "FP16", "fp32_contents", [1.0, 2.0])),
        "FP16 must come in raw_input_contents",
    ),
    "too large for INT8": (
        typed(distance=tensor("distance", "INT8", "int_contents", [300, 2])), "elements of INT8"
    ),
    "no UTF-8": (
        typed(place=tensor("place", "BYTES", "bytes_contents", [b"\xff", b"JFK"])), "UTF-8"
    ),
    "fewer rows": (typed(place=row_count(1)), "must have 2 rows as 'due' has, but has 1"),
    "column missing": (typed(place=None), "'place' is required, but missing"),
    "not allowed": (
        typed(place=tensor("place", "BYTES", "bytes_contents", [b"EWR", b"EWK"])),
        "row 1: place must be one of EWR, JFK, LGA, but got 'EWK'. Did you mean 'EWR'?",
    ),
    "both forms": (raw_and_typed(), "must not have contents beside raw_input_contents"),
    "raw of one": (raw_of_one(), "one for each of 5 inputs, not 1"),
    "no such output": (other_output(), "Did you mean 'label'?"),
    "too many rows": (
        pb.ModelInferRequest(model_name="trips", inputs=[row_count(MOST_ROWS + 1)]),
        "at most 50 rows, but there are 51",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_an_invalid_argument(channel: grpc.Channel, case: str):
    request, words = BAD[case]

    with pytest.raises(grpc.RpcError) as refused:
        called(channel, "ModelInfer", request, pb.ModelInferResponse)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in refused.value.details()


def test_what_is_not_there_is_not_found(channel: grpc.Channel):
    for request, answer in (
        (pb.ModelMetadataRequest(name="trip"), pb.ModelMetadataResponse),
        (pb.ModelReadyRequest(name="trips", version="9"), pb.ModelReadyResponse),
        (pb.ModelInferRequest(model_name="other"), pb.ModelInferResponse),
    ):
        method = type(request).__name__.removesuffix("Request")
        with pytest.raises(grpc.RpcError) as refused:
            called(channel, method, request, answer)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert "There is no" in refused.value.details()


def test_a_message_beyond_the_limit_is_refused(channel: grpc.Channel):
    large = pb.ModelInferRequest(model_name="trips", raw_input_contents=[b"0" * 200_000])

    with pytest.raises(grpc.RpcError) as refused:
        called(channel, "ModelInfer", large, pb.ModelInferResponse)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_told_by_the_standard_service(channel: grpc.Channel, service: str):
    request = health_pb2.HealthCheckRequest(service=service)

    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_calls_are_counted_with_those_of_rest(
    channel: grpc.Channel, both: tuple[httpx.Client, int]
):
    called(channel, "ModelInfer", typed(), pb.ModelInferResponse)

    metrics = both[0].get("/metrics").text
    assert 'route="grpc/ModelInfer",status="200"' in metrics
    assert 'route="grpc/ModelInfer",status="400"' in metrics


def test_a_server_without_its_tables_is_not_serving(shared: Path, tmp_path: Path):
    """Readiness is asked at each check: it goes with the tables."""
    import asyncio

    from ai_assets.serving.app import create_app

    settings = Settings(lake=str(tmp_path / "none"), grpc_port=1)
    server = create_app(shared / "payload", settings).state.server

    async def scenario() -> list[bool]:
        from ai_assets.serving.protocols.grpc_server import GrpcServer

        await asyncio.to_thread(server.wait)
        server.open()
        before = await GrpcServer(server, "127.0.0.1", 0)._ready()
        small.write_weather(tmp_path / "none")
        server.engine.refresh()
        after = await GrpcServer(server, "127.0.0.1", 0)._ready()
        await server.close()
        return [before, after]

    assert asyncio.run(scenario()) == [False, True]


def test_without_grpcio_the_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(beside.importlib.util, "find_spec", lambda name: None)
    beside.check_grpc(Settings(lake="x"))

    with pytest.raises(beside.BundleError, match="pip install grpcio grpcio-health-checking"):
        beside.check_grpc(Settings(lake="x", grpc_port=1))


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_a_port_that_is_taken_is_named(shared: Path, both: tuple[httpx.Client, int], protocol: str):
    taken = both[0].base_url.port if protocol == "REST" else both[1]
    command = ["-m", "ai_assets.serving", "--bundle", str(shared / "payload"), "--port", "0"]

    done = subprocess.run(
        [sys.executable, *command, "--grpc-port", str(taken)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode != 0
    assert f"gRPC cannot listen on 127.0.0.1:{taken}: is the port taken?" in done.stderr


def test_a_server_without_grpc_imports_none_of_it():
    code = (
        "import sys, ai_assets.serving.__main__, ai_assets.serving.protocols.models\n"
        "sys.exit(' '.join(sorted({'grpc', 'google.protobuf'} & set(sys.modules))) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_call_under_way_has_as_long_as_any_answer_when_the_server_is_stopped(client: TestClient):
    from ai_assets.serving.protocols.grpc_server import GrpcServer

    server: Any = client.app.state.server  # type: ignore[attr-defined]
    graces: list[float] = []

    class Noting:
        async def stop(self, grace: float) -> None:
            graces.append(grace)

    async def stop() -> None:
        made = GrpcServer(server, "127.0.0.1", 0)
        made._grpc = Noting()
        await made.stop()

    asyncio.run(stop())

    assert graces == [server.settings.max_seconds]
