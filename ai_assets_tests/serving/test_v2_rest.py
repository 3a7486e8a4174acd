"""Open Inference Protocol v2 over REST, asked by Triton's own client in a process of its own."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import small_payload as small
from v2_requests import ROWS, expected, inputs, served_by_both

from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.scoring import Scorer


@pytest.fixture(scope="module")
def served(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with a limit of 50 rows."""
    with served_by_both(shared, tmp_path_factory.mktemp("v2")) as (client, _):
        yield client


@pytest.fixture
def triton(served: httpx.Client) -> Iterator[Any]:
    """Triton's client."""
    from tritonclient.http import InferenceServerClient

    with InferenceServerClient(f"127.0.0.1:{served.base_url.port}") as client:
        yield client


def test_the_client_finds_server_and_models(triton: Any):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]

    model = triton.get_model_metadata("trips")
    assert triton.is_model_ready("trips", model["versions"][0])
    assert {i["name"]: i["datatype"] for i in model["inputs"]} == {
        "due": "BYTES", "place": "BYTES", "carrier": "BYTES", "distance": "INT64",
        "weight": "FP64", "name": "BYTES", "first": "BOOL", "booked": "BYTES",
    }  # fmt: skip
    assert [(o["name"], o["datatype"], o["shape"]) for o in model["outputs"]] == [
        ("probability", "FP64", [-1]), ("label", "BYTES", [-1]), ("prediction_id", "BYTES", [-1]),
        ("bundle", "BYTES", [-1]),
    ]  # fmt: skip
    vectors = triton.get_model_metadata("trips_vectors")
    assert vectors["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    assert vectors["parameters"]["features"] == ["place", "distance", "carrier_age", "temp"]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_columns_get_the_answers_that_predict_gives(
    triton: Any, served: httpx.Client, binary: bool
):
    from tritonclient.http import InferInput

    result = triton.infer("trips", inputs(InferInput, ROWS, binary_data=binary), request_id="mine")

    offline = expected(served, ROWS)
    assert result.get_response()["id"] == "mine"
    probabilities = [answer["probability"] for answer in offline]
    assert result.as_numpy("probability") == pytest.approx(probabilities, abs=1e-12)
    assert result.as_numpy("label").tolist() == [answer["label"].encode() for answer in offline]
    ids = result.as_numpy("prediction_id").tolist()
    assert len(set(ids)) == 3
    assert {len(name) for name in ids} == {36}


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_compressed_request_for_one_json_output_is_answered(triton: Any, compression: str):
    from tritonclient.http import InferInput, InferRequestedOutput

    result = triton.infer(
        "trips",
        inputs(InferInput, ROWS, binary_data=True),
        outputs=[InferRequestedOutput("label", binary_data=False)],
        request_compression_algorithm=compression,
    )

    assert [output["name"] for output in result.get_response()["outputs"]] == ["label"]
    assert result.as_numpy("label").tolist() == ["late", "not late", "late"]


def test_ready_vectors_are_scored_as_the_model_scores_them(
    triton: Any, served: httpx.Client, shared: Path
):
    from tritonclient.http import InferInput

    scorer = Scorer(load_bundle(shared / "payload"))
    matrix = scorer.bundle.encoding.transform(small.FEATURES)
    tensor = InferInput("features", list(matrix.shape), "FP32")
    tensor.set_data_from_numpy(matrix)

    result = triton.infer("trips_vectors", [tensor])

    own = scorer.score_matrix(matrix)
    assert result.as_numpy("probability").tolist() == own.probability.tolist()
    assert result.as_numpy("label").tolist() == [str(label).encode() for label in own.label]


def test_a_mask_says_what_is_missing(served: httpx.Client):
    given = as_json(ROWS[:2])
    given.append({"name": "weight.missing", "datatype": "BOOL", "shape": [2], "data": [True] * 2})
    given.append({"name": "first", "datatype": "BOOL", "shape": [2], "data": [True, None]})

    assert infer(served, {"inputs": given}).status_code == 200

    given[-2]["name"] = "distance.missing"
    refused = infer(served, {"inputs": given})
    assert refused.status_code == 400
    assert "distance must be a whole number, but got null" in refused.json()["error"]


def as_json(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    types = {str: "BYTES", int: "INT64", float: "FP64", type(None): "FP64"}
    return [
        {
            "name": name,
            "datatype": types[type(rows[0][name])],
            "shape": [len(rows)],
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]


def infer(
    served: httpx.Client, content: Any, model: str = "trips", **headers: str
) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return served.post(f"/v2/models/{model}/infer", content=body, headers=names)


def changed(name: str, /, **change: Any) -> dict[str, Any]:
    """A good request of three rows in which one tensor is otherwise."""
    return {"inputs": [{**t, **change} if t["name"] == name else t for t in as_json(ROWS)]}


def without(name: str) -> dict[str, Any]:
    return {"inputs": [t for t in as_json(ROWS) if t["name"] != name]}


def raw(name: str, size: Any) -> dict[str, Any]:
    head = changed(name, parameters={"binary_data_size": size})
    for tensor in head["inputs"]:
        if tensor["name"] == name:
            del tensor["data"]
    return head


def vectors(**change: Any) -> dict[str, Any]:
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [0, 1, 2, 3]}
    return {"inputs": [{**tensor, **change}]}


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "must be JSON"),
    "no object": ([], "must be an object with 'inputs'"),
    "no inputs": ({}, "at least one input"),
    "inputs of another kind": ({"inputs": {}}, "'inputs' must be a list"),
    "input of another kind": ({"inputs": [1]}, "Each of 'inputs' must be an object"),
    "id of another kind": ({**changed("due"), "id": 3}, "'id' must be a text"),
    "no name": ({"inputs": [{"datatype": "FP32", "shape": [1], "data": [1]}]}, "have a name"),
    "no datatype": (changed("distance", datatype="INT46"), "Did you mean 'INT64'?"),
    "no shape": (changed("distance", shape=None), "shape must be a list of sizes"),
    "negative shape": (changed("distance", shape=[-1]), "shape must be a list of sizes"),
    "very many sizes": (changed("due", shape=[2**31 - 1] * 500), "at most 8 sizes, but has 500"),
    "very large sizes": (changed("due", shape=[2**31 - 1] * 8), f"means {(2**31 - 1) ** 8} elem"),
    "more rows": (changed("distance", shape=[4], data=[1] * 4), "must have 3 rows as 'due' has"),
    "another shape": (changed("due", shape=[9]), "means 9 elements, but there are only 3"),
    "no data": (changed("due", data=None), "data must be a list"),
    "text for number": (changed("distance", data=["a", "b", "c"]), "elements of INT64"),
    "truth for number": (changed("distance", data=[True, 1, 2]), "holds a truth value"),
    "number too large": (changed("distance", data=[2**70, 1, 2]), "elements of INT64"),
    "lone surrogate": (changed("place", data=["\ud800", "EWR", "JFK"]), ""),
    "another datatype": (changed("place", datatype="INT64", data=[1, 2, 3]), "must be BYTES"),
    "three dimensions": (changed("due", shape=[3, 1, 1]), "must be [n] or [n, 1]"),
    "twice": ({"inputs": [*as_json(ROWS), as_json(ROWS)[0]]}, "'due': is given twice"),
    "value not allowed": (changed("place", data=["EWR", "EWK", "JFK"]), "row 1: place must be one"),
    "out of range": (changed("distance", data=[1, 2, 7000]), "row 2: distance must be between"),
    "fraction": (changed("distance", datatype="FP64", data=[1, 2.5, 3]), "row 1: distance must be"),
    "no instant": (changed("due", data=["x", "y", "z"]), "row 0: due must be an ISO 8601"),
    "unknown column": (changed("weight", name="weigth"), "Did you mean 'weight'?"),
    "late column": (changed("weight", name="delay"), "becomes known only after the answer"),
    "column missing": (without("place"), "'place' is required, but missing"),
    "mask of another kind": (changed("weight", name="place.missing"), "must be BOOL"),
    "no such output": ({**changed("due"), "outputs": [{"name": "labels"}]}, "mean 'label'?"),
    "output of another kind": ({**changed("due"), "outputs": ["label"]}, "object with a 'name'"),
    "parameters of another kind": ({**changed("due"), "parameters": 1}, "must be an object"),
    "flag of another kind": (
        {**changed("due"), "parameters": {"binary_data_output": 1}}, "must be true or false"
    ),
    "no rows": ({"inputs": [{**t, "shape": [0], "data": []} for t in as_json(ROWS)]}, "one row"),
    "raw bytes that lack": (raw("distance", 24), "at most the 0 raw bytes"),
    "raw size of another kind": (raw("distance", "24"), "at most the 0 raw bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_refused_with_a_useful_sentence(served: httpx.Client, case: str):
    content, words = BAD[case]

    response = infer(served, content)

    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert words in response.json()["error"]


BAD_VECTORS: dict[str, tuple[Any, str]] = {
    "another width": (vectors(shape=[2, 2]), "shape must be [n, 4], but is [2, 2]"),
    "flat": (vectors(shape=[4]), "shape must be [n, 4]"),
    "another name": (vectors(name="x"), "one input, 'features'"),
    "another datatype": (vectors(datatype="INT64"), "must be FP32"),
    "null": (vectors(data=[0, None, 2, 3]), "NaN, not null"),
    "unknown code": (vectors(data=[3, 1, 2, 3]), "place must be a code from 0 to 2, or -1"),
    "half a code": (vectors(data=[0.5, 1, 2, 3]), "place must be a code"),
    "too large": (vectors(datatype="FP64", data=[0, 1e300, 2, 3]), "distance must be a finite"),
}


@pytest.mark.parametrize("case", BAD_VECTORS)
def test_a_bad_matrix_is_refused_with_a_useful_sentence(served: httpx.Client, case: str):
    content, words = BAD_VECTORS[case]

    response = infer(served, content, "trips_vectors")

    assert response.status_code == 400, response.text
    assert words in response.json()["error"]


def texts(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "little") + value for value in values)


BAD_RAW: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (texts(b"\xff\xfe\xfd", b"EWR", b"JFK"), "must be UTF-8"),
    "cut": (texts(b"EWR", b"JFK", b"LGA")[:-1], "end within text 2"),
    "length too large": (b"\xff\xff\xff\xff" + b"EWR", "end within text 0"),
    "too few": (texts(b"EWR", b"LGA"), "there are only 2"),
    "too many": (texts(b"EWR", b"LGA", b"JFK", b"JFK"), "there are more"),
}


@pytest.mark.parametrize("case", BAD_RAW)
def test_bad_raw_texts_are_refused(served: httpx.Client, case: str):
    content, words = BAD_RAW[case]
    head = json.dumps(raw("place", len(content))).encode()

    response = infer(served, head + content, Inference_Header_Content_Length=str(len(head)))

    assert response.status_code == 400, response.text
    assert words in response.json()["error"]


@pytest.mark.parametrize(
    ("length", "words"), [("99999", "but the body has"), ("-1", "a number of"), ("²", "a number")]
)
def test_a_wrong_length_of_the_head_is_refused(served: httpx.Client, length: str, words: str):
    headers = {"Inference-Header-Content-Length": length.encode("latin-1")}
    response = served.post("/v2/models/trips/infer", content=b"{}", headers=headers)

    assert response.status_code == 400
    assert words in response.json()["error"]


def test_what_is_not_there_is_404_and_the_nearest_is_named(served: httpx.Client):
    for path, words in (
        ("/v2/models/trip", "Did you mean 'trips'?"),
        ("/v2/models/trips/versions/9", "There is no version '9' of 'trips'"),
        ("/v2/models/trip/ready", "There is no model 'trip'."),
    ):
        answer = served.get(path)
        assert answer.status_code == 404
        assert words in answer.json()["error"]
    assert infer(served, {}, "other").status_code == 404


def test_too_much_is_413(served: httpx.Client):
    many = infer(served, {"inputs": as_json(ROWS * 17)})
    assert many.status_code == 413
    assert "at most 50 rows, but there are 51" in many.json()["error"]
    bomb = infer(served, gzip.compress(b" " * 200_000), Content_Encoding="gzip")
    assert bomb.status_code == 413
    assert infer(served, b"{}", Content_Encoding="gzip").status_code == 400
    assert infer(served, gzip.compress(b"{}")[:-3], Content_Encoding="gzip").status_code == 400
    assert infer(served, b"{}", Content_Encoding="br").status_code == 415


def test_inferences_are_counted(served: httpx.Client):
    infer(served, {"inputs": as_json(ROWS)})

    assert 'route="v2/infer",status="200"' in served.get("/metrics").text
