"""Images and texts in numbers: what is watched in place of pixels and tokens."""

import math

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.features import image_numbers
from ai_assets.lifecycle.features.image_numbers import describe
from ai_assets.lifecycle.features.image_numbers import told as told_of
from ai_assets.lifecycle.features.items import described, described_table, items_of
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import NO_UNIT, Column, Table
from ai_assets.lifecycle.verdict.sketch import table_sketch
from ai_assets.lifecycle.verdict.spec import Causes
from ai_assets.lifecycle.verdict.units import unit_evidence

SHAPE = (4, 4, 1)
COLUMNS = {
    "photo": Column(type="image", size=(4, 4)),
    "note": Column(type="text"),
    "size": Column(type="int64"),
}


def told(shades: list[list[float]] | np.ndarray, shape: tuple[int, ...] = SHAPE) -> dict:
    image = (np.asarray(shades) * 255).astype(np.uint8).tobytes()
    return {name: values[0] for name, values in describe([image], shape).items()}


def test_numbers_of_a_picture_by_hand() -> None:
    right = np.zeros((4, 4))
    right[:, 3] = 1  # a bright right edge
    found = told(right)
    assert found["brightness"] == pytest.approx(0.25)
    assert found["contrast"] == pytest.approx(math.sqrt(0.25 * 0.75))
    assert found["bright_share"] == 0.25
    assert (found["across"], found["down"]) == (pytest.approx(1), pytest.approx(0.5))
    assert found["upright"] == pytest.approx(1)
    assert found["slant"] == pytest.approx(0, abs=1e-9)
    assert "colour" not in found, "grey has none"
    # The two columns at the edge differ by a quarter from the mean of what is around them.
    assert found["sharpness"] == pytest.approx(0.125 / math.sqrt(0.1875))
    assert found["grain"] == 0


def test_directions_have_signs() -> None:
    along = np.tril(np.ones((8, 8)))
    found, against = told(along, (8, 8, 1)), told(along[:, ::-1], (8, 8, 1))
    assert found["slant"] == pytest.approx(-against["slant"])
    assert abs(found["slant"]) > 0.3
    assert told(np.tile([[1.0], [0], [0], [0]], 4))["upright"] == pytest.approx(-1)


def test_noise_has_grain_and_blur_takes_sharpness() -> None:
    numbers = np.random.default_rng(0)
    smooth = np.linspace(0, 1, 64).reshape(8, 8)
    noisy = np.clip(smooth + numbers.normal(0, 0.2, (8, 8)), 0, 1)
    checks = np.indices((8, 8)).sum(axis=0) % 2
    shape = (8, 8, 1)
    assert told(noisy, shape)["grain"] > 5 * told(smooth, shape)["grain"]
    assert told(checks, shape)["sharpness"] > 5 * told(smooth, shape)["sharpness"]


def test_colour_is_how_far_channels_differ() -> None:
    hues = np.zeros((4, 4, 3))
    hues[:, :, 0], hues[:, :, 1] = 0.8, 0.2
    assert told(hues, (4, 4, 3))["colour"] == pytest.approx(0.8)


def test_a_missing_or_flat_picture_breaks_nothing() -> None:
    found = describe([None, bytes(16)], SHAPE)
    assert all(math.isnan(found[name][0]) for name in told_of(SHAPE))
    assert all(math.isfinite(found[name][1]) for name in told_of(SHAPE))
    assert {name: len(values) for name, values in describe([], SHAPE).items()} == dict.fromkeys(
        told_of(SHAPE), 0
    )


def test_many_pictures_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (7, 16), dtype=np.uint8)
    images = [None, *(image.tobytes() for image in drawn), None]
    at_once = describe(images, SHAPE)
    sizes, look = [], image_numbers._numbers

    def watched(seen: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(seen))
        return look(seen)

    monkeypatch.setattr(image_numbers, "_numbers", watched)
    monkeypatch.setattr(image_numbers, "_PIXELS", 3 * 16)

    found = describe(images, SHAPE)

    assert sizes == [3, 3, 1]
    for name, values in at_once.items():
        assert np.array_equal(found[name], values, equal_nan=True)


def test_items_are_replaced_by_numbers_about_them() -> None:
    frame = pl.DataFrame({"_row_id": [1], "photo": [bytes([255] * 16)], "size": [3]})
    found = described(frame, COLUMNS)
    assert found.columns == ["_row_id", "size", *(f"photo_{name}" for name in told_of(SHAPE))]
    assert found["photo_brightness"].to_list() == [1.0]
    plain = frame.drop("photo")
    assert described(plain, COLUMNS) is plain
    assert list(items_of(COLUMNS)) == ["photo", "note"]


def test_the_declaration_follows_the_frame() -> None:
    table = Table(source=Source(csv="x.csv"), columns=COLUMNS)
    columns = described_table(table).columns
    frame = pl.DataFrame({"photo": [bytes(16)], "note": ["Is it so?"], "size": [3]})
    assert sorted(columns) == sorted(described(frame, COLUMNS).columns)
    assert columns["photo_brightness"].type == "float64"
    assert columns["photo_brightness"].description == (
        "photo: mean of its pixels, from 0 (black) to 1"
    )
    assert columns["note_language"].type == "string"


def test_numbers_about_items_are_in_no_unit_that_somebody_could_have_changed() -> None:
    rows = np.random.default_rng(0).lognormal(0, 0.5, 1_000)
    before, after = pl.DataFrame({"a": rows}), pl.DataFrame({"a": rows * 10})
    found = []
    for unit in (None, NO_UNIT):
        table = Table(source=Source(csv="x.csv"), columns={"a": Column(type="float64", unit=unit)})
        sketch = table_sketch(before, table, timezone="UTC", rejected=0.0, duplicates=0.0)
        found.append([e.subject for e in unit_evidence(after, table, sketch, Causes())])
    assert found == [["a"], []]
    told = described_table(Table(source=Source(csv="x.csv"), columns=COLUMNS)).columns
    assert {told["photo_brightness"].unit, told["note_words"].unit} == {NO_UNIT}
