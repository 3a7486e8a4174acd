"""Pictures and texts in the log: what was asked, and what is told of it in numbers."""

from pathlib import Path

import claims_payload as items
import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from ai_assets.lifecycle.features.items import described
from ai_assets.serving.app import create_app
from ai_assets.serving.record.decode import Row, _items, rows_of
from ai_assets.serving.record.store import open_store
from ai_assets.serving.settings import Settings
from ai_assets.stages.served import served_frame
from ai_assets.stages.served_drift import features_of

PHOTO = items.photo((2, 3), (5, 5))
REMARK = "Taket  läcker igen,\nvad kostar det?"
ROWS = [{"photo": PHOTO, "remark": REMARK, "age": 4}, {"age": 2.5}]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Two rows and one ready vector, as they are read back."""
    folder: Path = tmp_path_factory.mktemp("claims")
    items.signed_payload(folder / "payload", folder)
    log = str(folder / "log.sqlite")
    vector = np.zeros((1, items.encoding().width), np.float32)
    vector[0, 0] = 1.0
    tensor = {
        "name": "features",
        "datatype": "FP32",
        "shape": list(vector.shape),
        "data": vector.ravel().tolist(),
    }
    with TestClient(create_app(folder / "payload", Settings(lake=str(folder), log=log))) as client:
        assert client.post("/predict", json=ROWS).status_code == 200
        asked = client.post("/v2/models/claims_vectors/infer", json={"inputs": [tensor]})
        assert asked.status_code == 200, asked.text
    store = open_store(log)
    return list(rows_of(store.answers((None, None)), store.descriptions()))


def test_numbers_of_served_items_are_those_that_the_reference_is_made_of(recorded: list[Row]):
    first, second, _ = recorded
    cleaned = pl.DataFrame(
        {
            "photo": [np.array(PHOTO, np.uint8).tobytes(), None],
            "remark": ["Taket läcker igen, vad kostar det?", None],
            "age": [4.0, 2.5],
        }
    )
    expected = described(cleaned, items.tables()["claims"].columns).fill_nan(None).to_dicts()

    assert [first.features, second.features] == expected
    assert first.features["remark_language"] == "sv" and second.features["photo_grain"] is None
    assert first.items == {name: cleaned[name][0] for name in ("photo", "remark")}
    assert second.items == {"photo": None, "remark": None}


def test_of_a_ready_vector_the_picture_is_known_and_the_text_is_not(recorded: list[Row]):
    *_, row = recorded
    assert row.items["photo"] == bytes([255] + [0] * (items.HEIGHT * items.WIDTH - 1))
    assert row.features["photo_brightness"] == pytest.approx(1 / (items.HEIGHT * items.WIDTH))
    assert row.items["remark"] is None and row.features["remark_words"] is None


@pytest.mark.parametrize("far", [np.nan, np.inf, -3.0, 300.0])
def test_of_a_ready_vector_pixels_beyond_black_and_white_are_those(far: float):
    seen = np.full((1, items.encoding().width), far, np.float32)

    found = _items(seen, [{}], items.encoding())["photo"][0]

    assert set(found) == {255 if far > 1 else 0}


def test_served_drift_reads_them_back_to_the_last_digit(recorded: list[Row]):
    rows = served_frame(recorded, items.tables()["claims"])

    found = features_of(rows.with_columns(prediction=pl.lit(0.5)), items.encoding())

    assert found.columns[:2] == ["age", "photo_brightness"]
    assert "photo" not in found.columns and "remark" not in found.columns
    assert found.schema["remark_language"] == pl.String
    for row, back in zip(recorded, found.drop("prediction").to_dicts(), strict=True):
        assert back == row.features
