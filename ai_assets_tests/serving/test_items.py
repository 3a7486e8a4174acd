"""Pictures and texts are asked about in every form that callers have them in."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any

import items_payload as items
import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ai_assets.serving import columns
from ai_assets.serving.app import create_app
from ai_assets.serving.batch import main
from ai_assets.serving.bundle import load_bundle
from ai_assets.serving.record.keeper import rows_as_json
from ai_assets.serving.request import RequestReader
from ai_assets.serving.settings import Settings

DARK, LIGHT = np.zeros((2, 3), np.uint8), np.full((2, 3), 255, np.uint8)


def probability(seen: float) -> float:
    return 1 / (1 + exp(3 - seen))


def file_of(shades: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(shades).save(out, kind)
    return out.getvalue()


def base64_of(shades: np.ndarray) -> str:
    return base64.b64encode(file_of(shades)).decode()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: tmp_path_factory.mktemp(kind) for kind in items.ITEMS}
    return {kind: items.signed_payload(at / "payload", at, kind) for kind, at in made.items()}


@pytest.fixture(scope="module")
def pictures(folders: dict[str, Path]) -> Iterator[TestClient]:
    with TestClient(create_app(folders["image"], Settings(lake="none", max_rows=5))) as running:
        yield running


@pytest.fixture(scope="module")
def texts(folders: dict[str, Path]) -> Iterator[TestClient]:
    with TestClient(create_app(folders["text"], Settings(lake="none", max_rows=5))) as running:
        yield running


def answered(response: Any) -> list[float]:
    assert response.status_code == 200, response.text
    return [each["probability"] for each in response.json()["predictions"]]


def refused(response: Any, status: int = 400) -> str:
    assert response.status_code == status, response.text
    return response.text


def test_a_picture_is_asked_about_as_base64_as_numbers_and_as_a_file(pictures: TestClient) -> None:
    light = pytest.approx([probability(6)], abs=1e-6)
    assert answered(pictures.post("/predict", json={"photo": base64_of(LIGHT)})) == light
    assert answered(pictures.post("/predict", json={"photo": LIGHT.tolist()})) == light
    for media, kind in (("image/png", "PNG"), ("IMAGE/BMP", "BMP"), ("image/jpeg", "JPEG")):
        head = {"content-type": media}
        found = pictures.post("/predict", content=file_of(LIGHT, kind), headers=head)
        assert answered(found) == pytest.approx([probability(6)], abs=1e-3)


def test_many_pictures_in_one_request(pictures: TestClient) -> None:
    rows = [{"photo": base64_of(DARK)}, {"photo": [[51, 0, 0], [0, 0, 102]], "number": 3}]
    found = answered(pictures.post("/predict", json=rows))
    assert found == pytest.approx([probability(0), probability(0.6)], abs=1e-6)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"photo": "no picture"}, "it is no Base64 text of a picture file"),
        ({"photo": base64.b64encode(b"x").decode()}, "it is no picture file that is known"),
        ({"photo": base64.b64encode(file_of(LIGHT)[:45]).decode()}, "the picture file is damaged"),
        ({"photo": [[1, 2], [3, 256]]}, "its numbers must be from 0 (black) to 255 (white)"),
        ({"photo": [[1], [2, 3]]}, "its rows are not all of the same length"),
        ({"photo": [[10**400]]}, "its rows are not all of the same length, or not all of numbers"),
        ({"photo": 7}, "its numbers are [], not [height, width]"),
        ({"photo": {"a": 1}}, "its rows are not all of the same length, or not all of numbers"),
        ({"photo": None}, "photo must be a PNG or JPEG file as Base64, or rows of numbers, but"),
        ({"number": 3}, "The field 'photo' is required, but missing."),
    ],
)
def test_what_is_no_picture_is_refused_in_words(
    pictures: TestClient, row: dict[str, Any], words: str
) -> None:
    assert words in refused(pictures.post("/predict", json=row))


def test_a_damaged_file_as_the_body_is_refused(pictures: TestClient) -> None:
    head = {"content-type": "image/png"}
    words = refused(pictures.post("/predict", content=file_of(LIGHT)[:45], headers=head))
    assert "photo must be a PNG or JPEG file" in words and "is damaged" in words
    assert len(words) < 1000  # what was given is not told again in full


def test_a_file_of_another_type_than_the_request_has_is_refused(
    pictures: TestClient, texts: TestClient, client: TestClient
) -> None:
    words = "text/plain is for products of one text a request; send JSON instead."
    plain = {"content-type": "text/plain"}
    assert words in refused(pictures.post("/predict", content=b"a note", headers=plain), 415)
    image = {"content-type": "image/png"}
    for other in (texts, client):
        found = refused(other.post("/predict", content=file_of(LIGHT), headers=image), 415)
        assert "image/png is for products of one image a request; send JSON instead." in found


def test_the_page_says_which_files_may_be_the_body(
    pictures: TestClient, texts: TestClient, client: TestClient
) -> None:
    for asked, files in (
        (pictures, ["image/png", "image/jpeg"]),
        (texts, ["text/plain"]),
        (client, []),
    ):
        paths = asked.get("/openapi.json").json()["paths"]
        for route in ("/predict", "/explain"):
            operation = paths[route]["post"]
            assert list(operation["requestBody"]["content"]) == ["application/json", *files]
            assert "415" in operation["responses"]


def test_a_text_is_asked_about_as_json_and_as_the_body(texts: TestClient) -> None:
    # [CLS] the cat [SEP] as numbers of the vocabulary; the sum is far above 3.
    expected = pytest.approx([probability(101 + 1996 + 4937 + 102)])
    assert answered(texts.post("/predict", json={"note": "the cat"})) == expected
    head = {"content-type": "text/plain; charset=utf-8"}
    found = texts.post("/predict", content=" the\n  cät".encode(), headers=head)
    assert answered(found) == expected


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"note": ""}, "note must be a text, but got null."),
        ({"note": " \n "}, "note must be a text, but got null."),
        ({"note": None}, "note must be a text, but got null."),
        ({"note": 3}, "note must be a text, but got 3."),
        ({"note": "x" * 41}, "note must be a text of 0 to 40 characters"),
    ],
)
def test_what_is_no_text_is_refused_in_words(
    texts: TestClient, row: dict[str, Any], words: str
) -> None:
    assert words in refused(texts.post("/predict", json=row))
    assert answered(texts.post("/predict", json={"note": "x  " * 20}))  # 39 in its one form


def test_a_text_without_a_word_that_can_be_read_is_explained_by_none(texts: TestClient) -> None:
    found = texts.post("/explain", json={"note": "\u200b"})
    assert found.status_code == 200, found.text
    (told,) = found.json()["explanations"]
    assert told["contributions"][0]["words"] == [] and told["output"] == told["base"]


def test_a_text_that_is_not_utf8_is_refused(texts: TestClient) -> None:
    head = {"content-type": "text/plain"}
    words = refused(texts.post("/predict", content="å".encode("latin-1"), headers=head))
    assert "The text must be UTF-8, but " in words


def v2(client: TestClient, name: str, values: list[str]) -> Any:
    tensor = {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": values}
    return client.post("/v2/models/things/infer", json={"inputs": [tensor]})


def test_v2_takes_pictures_as_base64_in_bytes(pictures: TestClient) -> None:
    found = v2(pictures, "photo", [base64_of(DARK), base64_of(LIGHT)])
    assert found.status_code == 200, found.text
    outputs = {each["name"]: each["data"] for each in found.json()["outputs"]}
    assert outputs["probability"] == pytest.approx([probability(0), probability(6)], abs=1e-6)
    told = pictures.get("/v2/models/things").json()["inputs"]
    assert {each["name"]: each["datatype"] for each in told}["photo"] == "BYTES"
    words = refused(v2(pictures, "photo", [base64_of(DARK), "x"]))
    assert "it is no Base64 text of a picture file" in words


def raw_v2(client: TestClient, name: str, content: bytes) -> Any:
    raw = len(content).to_bytes(4, "little") + content
    size = {"binary_data_size": len(raw)}
    tensor = {"name": name, "datatype": "BYTES", "shape": [1], "parameters": size}
    head = json.dumps({"inputs": [tensor]}).encode()
    heads = {"Inference-Header-Content-Length": str(len(head))}
    return client.post("/v2/models/things/infer", content=head + raw, headers=heads)


def test_v2_takes_files_as_raw_bytes(pictures: TestClient, texts: TestClient) -> None:
    found = raw_v2(pictures, "photo", file_of(LIGHT))
    assert found.status_code == 200, found.text
    outputs = {each["name"]: each["data"] for each in found.json()["outputs"]}
    assert outputs["probability"] == pytest.approx([probability(6)], abs=1e-6)
    assert "is damaged" in refused(raw_v2(pictures, "photo", file_of(LIGHT)[:45]))
    words = "Input 'note': texts must be UTF-8."
    assert words in refused(raw_v2(texts, "note", file_of(LIGHT)))


def test_v2_takes_texts(texts: TestClient) -> None:
    found = v2(texts, "note", ["the cat", "the  cat "])
    assert found.status_code == 200, found.text
    outputs = {each["name"]: each["data"] for each in found.json()["outputs"]}
    assert outputs["probability"][0] == outputs["probability"][1]
    assert "note must be a text, but got null." in refused(v2(texts, "note", ["the cat", " "]))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_pictures_is_scored(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / f"in.{kind}", tmp_path / "out.parquet"
    given = [file_of(DARK), file_of(LIGHT), b"damaged"]
    rows = pl.DataFrame({"photo": given, "number": [1, 2, 3]})
    if kind == "parquet":
        rows.write_parquet(source)
    else:
        rows.with_columns(pl.col("photo").bin.encode("base64")).write_csv(source)

    main([str(source), str(target), "--bundle", str(folders["image"])])

    found = pl.read_parquet(target)
    assert found["probability"].to_list() == pytest.approx([probability(0), probability(6)])
    rejected = pl.concat(pl.read_parquet(p) for p in tmp_path.glob("*reject*"))
    assert rejected.height == 1
    assert "photo must be a PNG or JPEG file" in str(rejected.row(0))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_of_texts_is_scored(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / f"in.{kind}", tmp_path / "out.parquet"
    rows = pl.DataFrame({"note": ["the cat", "the \t cat", "x" * 41]})
    rows.write_parquet(source) if kind == "parquet" else rows.write_csv(source)

    main([str(source), str(target), "--bundle", str(folders["text"])])

    found = pl.read_parquet(target)
    assert found["_row"].to_list() == [0, 1]
    assert found["probability"].n_unique() == 1


@pytest.mark.parametrize("kind", ["rows", "frame"])
def test_what_was_asked_is_told_again_as_a_caller_could_have(
    folders: dict[str, Path], kind: str
) -> None:
    reader = RequestReader(load_bundle(folders["image"]), max_rows=5)
    body = json.dumps([{"photo": LIGHT.tolist(), "number": 3}, {"photo": base64_of(DARK)}])
    rows = reader.rows(body.encode())
    part = rows if kind == "rows" else reader.frame(rows)
    told = json.loads(rows_as_json(part, reader.table))
    assert [row.get("number") for row in told] == [3, None]
    assert base64.b64decode(told[0]["photo"]).startswith(b"\x89PNG")
    again = reader.frame(reader.rows(json.dumps(told).encode()))
    assert again["photo"].to_list() == [LIGHT.tobytes(), DARK.tobytes()]


_QUERY = '{ predict(rows: [{photo: "x"}]) { probability } }'


@pytest.mark.parametrize("route", ["predict", "explain", "v2", "graphql"])
def test_others_are_answered_while_a_picture_is_read(
    pictures: TestClient, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    begun, answered_others = threading.Event(), threading.Event()
    waited: list[bool] = []

    def slowly(*given: Any) -> bytes:
        begun.set()
        waited.append(answered_others.wait(5))
        return bytes(6)

    monkeypatch.setattr(columns, "canonical", slowly)
    ask = {
        "predict": lambda: pictures.post("/predict", json={"photo": "x"}),
        "explain": lambda: pictures.post("/explain", json={"photo": "x"}),
        "v2": lambda: v2(pictures, "photo", ["x"]),
        "graphql": lambda: pictures.post("/graphql", json={"query": _QUERY}),
    }
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(ask[route]()))
    asking.start()
    assert begun.wait(5)
    assert pictures.get("/livez").status_code == 200
    answered_others.set()
    asking.join(10)
    assert waited == [True]
    assert found[0].status_code == 200, found[0].text
