"""A picture becomes the same bytes, whichever way it came: file, Base64, or numbers."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features import images
from ai_assets.lifecycle.features.images import canonical, pixels, png
from ai_assets.lifecycle.schema.tables import Column

GREY = Column(type="image", size=(2, 3))
COLOUR = Column(type="image", size=(2, 3), channels=3)
SHADES = np.array([[0, 50, 100], [150, 200, 255]], dtype=np.uint8)
HUES = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14


def file_of(shades: np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(shades).save(out, kind, **how)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_a_file_without_loss_gives_its_own_shades(kind: str) -> None:
    assert canonical(file_of(SHADES, kind), GREY) == SHADES.tobytes()


def test_a_jpeg_gives_its_shades_but_for_what_it_lost() -> None:
    flat = np.full((8, 8), 120, dtype=np.uint8)
    found = pixels([canonical(file_of(flat, "JPEG"), Column(type="image", size=(8, 8)))], (8, 8, 1))
    assert abs(found.astype(int) - 120).max() <= 2


def test_base64_and_a_data_uri_are_the_file() -> None:
    text = base64.b64encode(file_of(SHADES)).decode()
    assert canonical(text, GREY) == SHADES.tobytes()
    assert canonical(f"data:image/png;base64,{text}", GREY) == SHADES.tobytes()


def test_numbers_are_shades_up_to_the_declared_white() -> None:
    assert canonical(SHADES.tolist(), GREY) == SHADES.tobytes()
    assert canonical(SHADES[:, :, None].tolist(), GREY) == SHADES.tobytes()
    sixteen = Column(type="image", size=(1, 3), max=16)
    assert list(canonical([[0, 8, 16]], sixteen)) == [0, 128, 255]


def test_colour_is_kept_row_by_row_or_turned_grey_as_declared() -> None:
    assert canonical(file_of(HUES), COLOUR) == HUES.tobytes()
    assert canonical(HUES.tolist(), COLOUR) == HUES.tobytes()
    assert canonical(file_of(SHADES), COLOUR) == np.repeat(SHADES[:, :, None], 3, axis=2).tobytes()
    red = np.zeros((2, 3, 3), dtype=np.uint8)
    red[:, :, 0] = 255
    assert set(canonical(file_of(red), GREY)) == {76}  # ITU-R 601: 0.299 of red


def test_another_size_is_brought_to_the_declared_one() -> None:
    large = np.kron(SHADES, np.ones((8, 8), dtype=np.uint8))
    found = pixels([canonical(large.tolist(), GREY)], (2, 3, 1))[0, :, :, 0]
    assert abs(found.astype(int) - SHADES).max() <= 20  # edges overshoot as Lanczos' filter does


def test_a_picture_that_was_held_sideways_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right to be seen
    lying = np.rot90(SHADES)
    assert canonical(file_of(lying, "PNG", exif=exif), GREY) == SHADES.tobytes()


def test_what_is_transparent_is_black() -> None:
    seen = np.dstack([np.full((2, 3, 3), 200, np.uint8), np.full((2, 3), 255, np.uint8)])
    seen[0, :, 3] = 0
    assert list(canonical(file_of(seen), GREY)) == [0, 0, 0, 200, 200, 200]


def test_sixteen_bits_keep_their_upper_bits() -> None:
    deep = (SHADES.astype(np.uint16) * 257).astype(np.uint16)
    assert canonical(file_of(deep), GREY) == SHADES.tobytes()


def test_a_dark_picture_of_sixteen_bits_stays_dark() -> None:
    assert canonical(file_of(np.full((2, 3), 200, np.uint16)), GREY) == bytes([1] * 6)


def test_what_is_transparent_in_sixteen_bits_is_black_and_the_rest_as_it_was() -> None:
    deep = (SHADES.astype(np.uint16) * 257).astype(np.uint16)
    unseen = file_of(deep, transparency=int(deep[1, 0]))
    assert list(canonical(unseen, GREY)) == [0, 50, 100, 0, 200, 255]


def test_fractions_are_shades_up_to_one() -> None:
    fractions = file_of((SHADES / 255).astype(np.float32), "TIFF")
    assert canonical(fractions, GREY) == SHADES.tobytes()
    assert canonical(file_of(SHADES.astype(np.float32), "TIFF"), GREY) == SHADES.tobytes()
    with pytest.raises(DataError, match="its numbers are not all finite"):
        canonical(file_of(np.full((2, 3), np.nan, np.float32), "TIFF"), GREY)


def test_a_file_whose_damage_its_decoder_does_not_know_is_refused_in_words() -> None:
    damaged = bytearray(file_of(SHADES, "TIFF"))
    damaged[72] = 7  # of a tag of one number, that it is bytes
    with pytest.raises(DataError, match="the picture file is damaged: "):
        canonical(bytes(damaged), GREY)


def test_the_file_made_of_an_image_gives_it_again() -> None:
    for shades, column in ((SHADES, GREY), (HUES, COLOUR)):
        assert canonical(png(shades.tobytes(), column.shape), column) == shades.tobytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"no picture", "it is no picture file that is known"),
        (b"", "it is no picture file that is known"),
        (file_of(SHADES)[:45], "the picture file is damaged: "),
        ("not base64!", "it is no Base64 text of a picture file"),
        ([[1, 2], [3]], "its rows are not all of the same length, or not all of numbers"),
        ([["a", "b"]], "its rows are not all of the same length, or not all of numbers"),
        ([[10**400]], "its rows are not all of the same length, or not all of numbers"),
        ([1, 2, 3], r"its numbers are \[3\], not \[height, width\] or \[height, width, 3\]"),
        ([], r"its numbers are \[0\], not \[height, width\]"),
        ([[[1, 2]]], r"its numbers are \[1, 1, 2\], not"),
        ([[256]], r"its numbers must be from 0 \(black\) to 255 \(white\)"),
        ([[-1]], r"its numbers must be from 0 \(black\) to 255 \(white\)"),
        ([[float("nan")]], r"its numbers must be from 0 \(black\) to 255 \(white\)"),
    ],
)
def test_what_is_no_picture_is_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        canonical(value, GREY)


def test_a_file_that_unpacks_to_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_PIXELS", 6)
    assert canonical(file_of(SHADES), GREY) == SHADES.tobytes()
    with pytest.raises(DataError, match="it has more than 6 pixels"):
        canonical(file_of(np.zeros((7, 1), np.uint8)), GREY)
