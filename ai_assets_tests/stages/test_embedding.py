"""The embedding's line among the drift numbers: from the bundle's files to words and weight."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift.profile import profile
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.items import described
from ai_assets.lifecycle.learners.graphs import Graph, add_link
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.embedding import FILE, embedding_file, embedding_line, importances_of

COLUMNS = {"photo": Column(type="image", size=(4, 4)), "n": Column(type="int64")}


def photos(light: float, seed: int = 0, rows: int = 600) -> pl.DataFrame:
    shades = np.random.default_rng(seed).normal(light, 20, (rows, 16)).clip(0, 255)
    return pl.DataFrame({"photo": [row.tobytes() for row in shades.astype(np.uint8)]})


def model(*, trees: bool = False) -> bytes:
    graph = Graph()
    weights = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    score = "x" if trees else graph.add("MatMul", "x", graph.constant(weights))
    axes = {"axes": [1], "keepdims": 1}
    add_link(graph, "binary", graph.add("ReduceMean", score, **axes))
    return graph.to_bytes(16, 1)


@pytest.fixture
def encoding() -> Encoding:
    return Encoding.fit(photos(100), COLUMNS)


def payload(folder: Path, encoding: Encoding) -> Path:
    (folder / "model.onnx").write_bytes(model())
    text = embedding_file(model(), encoding, photos(100), seed=3)
    (folder / FILE).write_text(text, encoding="utf-8")
    told = profile(described(photos(100), COLUMNS)).to_json()
    (folder / "reference.json").write_text(told, encoding="utf-8")
    return folder


def test_darker_pictures_are_drift_and_said_to_be_darker(
    tmp_path: Path, encoding: Encoding
) -> None:
    folder = payload(tmp_path, encoding)
    alike = embedding_line(folder, encoding, photos(100, 1), COLUMNS, Drift())
    assert alike.select("column", "drifted", "words").rows() == [("embedding", False, "")]
    darker = embedding_line(folder, encoding, photos(60, 2), COLUMNS, Drift()).row(0, named=True)
    assert darker["drifted"]
    assert "darker (photo_brightness 0.39 → 0.23)" in darker["words"]
    assert darker["effect"] > 1


def test_without_items_rows_a_last_layer_or_a_sketch_there_is_no_line(
    tmp_path: Path, encoding: Encoding
) -> None:
    assert embedding_file(model(trees=True), encoding, photos(100), 0) == ""
    assert embedding_file(model(), encoding, photos(100, rows=150), 0) == ""
    tabular = Encoding.fit(pl.DataFrame({"n": [1, 2]}), COLUMNS)
    assert embedding_file(model(), tabular, pl.DataFrame({"n": [1] * 600}), 0) == ""
    folder = payload(tmp_path, encoding)
    assert embedding_line(folder, encoding, photos(9, rows=0), COLUMNS, Drift()).is_empty()
    (folder / FILE).unlink()
    assert embedding_line(folder, encoding, photos(9), COLUMNS, Drift()).is_empty()


def test_what_an_image_matters_is_its_embeddings() -> None:
    pixels = {"photo[0,0,0]": 0.25, "photo[0,1,0]": 0.5, "n": 0.25}
    both = pl.DataFrame({"column": ["n", "photo_brightness", "photo_contrast", "embedding"]})
    assert importances_of(pixels, COLUMNS, both) == {"n": 0.25, "embedding": 0.75}
    assert importances_of({"photo": 1.0}, COLUMNS, both) == {"embedding": 1.0}
    without = both.filter(pl.col("column") != "embedding")
    assert importances_of(pixels, COLUMNS, without) == {
        "n": 0.25,
        "photo_brightness": 0.375,
        "photo_contrast": 0.375,
    }
    assert importances_of({"n": 1.0}, {"n": COLUMNS["n"]}, both) == {"n": 1.0}
