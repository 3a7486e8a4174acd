"""Images and texts are many columns of the matrix each, found again by name and place."""

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer
from ai_assets.lifecycle.schema.tables import Column

COLUMNS = {
    "photo": Column(type="image", size=(1, 2), channels=3),
    "note": Column(type="text", tokens=4),
    "elsewhere": Column(type="text"),
}
FRAME = pl.DataFrame(
    {
        "_row_id": [1, 2],
        "size": [7.0, None],
        "photo": [bytes([0, 51, 102, 153, 204, 255]), None],
        "kind": ["b", "a"],
        "note": ["the cat", None],
    }
)


@pytest.fixture(scope="module")
def encoding() -> Encoding:
    return Encoding.fit(FRAME, COLUMNS)


def test_names_say_which_pixel_and_which_token(encoding: Encoding) -> None:
    assert encoding.names == (
        "size",
        *("photo[0,0,0]", "photo[0,0,1]", "photo[0,0,2]"),
        *("photo[0,1,0]", "photo[0,1,1]", "photo[0,1,2]"),
        "kind",
        *("note[0]", "note[1]", "note[2]", "note[3]"),
    )
    assert encoding.width == 12
    assert [column.name for column in encoding.items] == ["photo", "note"]
    assert encoding.places == (slice(0, 1), slice(1, 7), slice(7, 8), slice(8, 12))
    assert encoding.categorical == (7,)
    assert [column.name for column in encoding.slots][6:9] == ["photo", "kind", "note"]


def test_pixels_are_from_0_to_1_and_tokens_are_numbers(encoding: Encoding) -> None:
    found = encoding.transform(FRAME)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    assert found[0].tolist() == pytest.approx(
        [7, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 101, 1996, 4937, 102]
    )
    assert np.isnan(found[1, 0])
    assert found[1, 1:].tolist() == [*[0] * 6, 0, 101, 102, 0, 0]


def test_few_plain_values_are_encoded_as_a_series_is(encoding: Encoding) -> None:
    for name, plain in (("photo", bytes(range(6))), ("note", "a dog barks"), ("note", None)):
        column = next(c for c in encoding.columns if c.name == name)
        assert column.takes_plain(FRAME.schema[name])
        assert not column.takes_plain(pl.Int64())
        series = pl.Series(name, [plain], FRAME.schema[name])
        assert column.encode_plain([plain]).tolist() == column.encode(series).tolist()


def test_json_holds_shape_and_vocabulary(encoding: Encoding) -> None:
    again = Encoding.from_json(encoding.to_json())
    assert again == encoding
    assert again.columns[1].shape == (1, 2, 3)
    assert again.columns[3].tokenizer == shipped_tokenizer()
    assert again.transform(FRAME)[0].tolist() == encoding.transform(FRAME)[0].tolist()


def test_an_image_of_another_size_is_refused(encoding: Encoding) -> None:
    other = FRAME.with_columns(photo=pl.Series([bytes(5), None], dtype=pl.Binary))
    words = "feature 'photo' must be images of 1x2x3 bytes, but got 5"
    with pytest.raises(DataError, match=words):
        encoding.transform(other)


def test_bytes_that_are_declared_no_image_are_refused() -> None:
    with pytest.raises(DataError, match="feature 'photo' must be a number, a truth value"):
        Encoding.fit(FRAME.select("photo"))
    undeclared = Encoding.fit(FRAME.select("note")).columns[0]
    assert (undeclared.kind, undeclared.width) == ("categorical", 1)
