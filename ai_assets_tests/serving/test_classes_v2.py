"""Several classes by Open Inference Protocol v2, asked by Triton's clients over REST and gRPC."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import classes_payload as several
import httpx
import numpy as np
import pytest
import small_payload as small
from v2_requests import ROWS, expected, inputs, served_by_both

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.scoring import Scorer

CLASSES = several.CLASSES
OUTPUTS = [
    ("probability", "FP64", [-1]), ("label", "BYTES", [-1]), ("probabilities", "FP64", [-1, 3]),
    ("prediction_id", "BYTES", [-1]), ("bundle", "BYTES", [-1]),
]  # fmt: skip


@pytest.fixture(scope="module")
def both(
    of_classes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, int]]:
    with served_by_both(of_classes, tmp_path_factory.mktemp("v2")) as found:
        yield found


@pytest.fixture
def rest(both: tuple[httpx.Client, int]) -> Iterator[Any]:
    """Triton's client of REST."""
    from tritonclient.http import InferenceServerClient

    with InferenceServerClient(f"127.0.0.1:{both[0].base_url.port}") as client:
        yield client


@pytest.fixture
def grpc(both: tuple[httpx.Client, int]) -> Iterator[Any]:
    """Triton's client of gRPC."""
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(f"127.0.0.1:{both[1]}") as client:
        yield client


def test_metadata_tells_the_outputs_and_the_order_of_the_classes(rest: Any, grpc: Any):
    for name in ("trips", "trips_vectors"):
        told = rest.get_model_metadata(name)
        assert [(o["name"], o["datatype"], o["shape"]) for o in told["outputs"]] == OUTPUTS
        assert told["parameters"]["classes"] == list(CLASSES)
        outputs = grpc.get_model_metadata(name).outputs
        assert [(o.name, o.datatype, list(o.shape)) for o in outputs] == OUTPUTS
    vectors = rest.get_model_metadata("trips_vectors")["parameters"]
    assert vectors["features"] == ["place", "distance", "carrier_age", "temp"]


def check(result: Any, answers: list[dict[str, Any]]) -> None:
    """The tensors are what /predict answers."""
    each = [list(answer["probabilities"].values()) for answer in answers]
    assert result.as_numpy("probabilities").shape == (len(answers), 3)
    assert result.as_numpy("probabilities") == pytest.approx(np.array(each), abs=1e-12)
    assert result.as_numpy("probability").tolist() == pytest.approx([max(e) for e in each])
    labels = [answer["label"] for answer in answers]
    # The client leaves texts that came in JSON as they are.
    texts = result.as_numpy("label").tolist()
    assert [text if isinstance(text, str) else text.decode() for text in texts] == labels
    assert len(set(labels)) > 1


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_rest_answers_as_predict_does(rest: Any, both: tuple[httpx.Client, int], binary: bool):
    from tritonclient.http import InferInput, InferRequestedOutput

    names = [name for name, _, _ in OUTPUTS]
    wanted = [InferRequestedOutput(name, binary_data=binary) for name in names]
    given = inputs(InferInput, ROWS, binary_data=binary)

    result = rest.infer("trips", given, outputs=wanted)

    check(result, expected(both[0], ROWS))
    told = {o["name"]: o for o in result.get_response()["outputs"]}["probabilities"]
    assert told["shape"] == [3, 3]
    assert told.get("parameters") == ({"binary_data_size": 72} if binary else None)
    assert len(told.get("data", [])) == (0 if binary else 9)


def test_all_but_the_bundle_are_given_where_no_output_is_asked_for(rest: Any):
    from tritonclient.http import InferInput

    result = rest.infer("trips", inputs(InferInput, ROWS, binary_data=True))

    names = [output["name"] for output in result.get_response()["outputs"]]
    assert names == ["probability", "label", "probabilities", "prediction_id"]


def test_grpc_answers_as_predict_does(grpc: Any, both: tuple[httpx.Client, int]):
    from tritonclient.grpc import InferInput

    check(grpc.infer("trips", inputs(InferInput, ROWS)), expected(both[0], ROWS))


def test_typed_lists_of_grpc_are_row_by_row(both: tuple[httpx.Client, int], of_classes: Path):
    import grpc

    from ai_assets.serving.protocols.inference import inference_pb2 as pb

    matrix = Scorer(load_bundle(of_classes / "payload")).bundle.encoding.transform(small.FEATURES)
    given = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=[3, 4])
    given.contents.fp32_contents.extend(np.nan_to_num(matrix).ravel().tolist())
    request = pb.ModelInferRequest(model_name="trips_vectors", inputs=[given])
    request.outputs.add(name="probabilities")

    with grpc.insecure_channel(f"127.0.0.1:{both[1]}") as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        (output,) = call(request, timeout=10).outputs

    own = several.expected(np.nan_to_num(matrix).tolist())
    assert (output.name, list(output.shape)) == ("probabilities", [3, 3])
    assert list(output.contents.fp64_contents) == pytest.approx(own.ravel().tolist(), abs=1e-5)


def test_ready_vectors_are_scored_as_the_model_scores_them(rest: Any, of_classes: Path):
    from tritonclient.http import InferInput

    scorer = Scorer(load_bundle(of_classes / "payload"))
    matrix = scorer.bundle.encoding.transform(small.FEATURES)
    tensor = InferInput("features", list(matrix.shape), "FP32")
    tensor.set_data_from_numpy(matrix)

    found = rest.infer("trips_vectors", [tensor]).as_numpy("probabilities")

    assert found.tolist() == scorer.score_matrix(matrix).predicted.tolist()
