"""Pictures and texts as cleaning leaves them: in one form, or rejected with the rule in words."""

import io

import numpy as np
import polars as pl
from PIL import Image

from ai_assets.lifecycle.cleaning import clean
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table

SOURCE = Source(csv="x.csv")
SHADES = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
PHOTO = {"photo": Column(type="image", size=(2, 3), nullable=False), "n": Column(type="int64")}
NOTE = {"note": Column(type="text", nullable=False, min=2, max=9), "n": Column(type="int64")}


def file_of(shades: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(shades).save(out, "PNG")
    return out.getvalue()


def test_pictures_are_read_and_those_that_cannot_be_are_rejected() -> None:
    good = file_of(SHADES)
    raw = pl.DataFrame({"photo": [good, good[:40], b"text", None], "n": ["1", "2", "3", "4"]})
    found = clean(raw.lazy(), Table(source=SOURCE, columns=PHOTO))
    kept = found.good.collect()
    assert kept.select("photo", "n").rows() == [(SHADES.tobytes(), 1)]
    assert found.rejected.collect().select("n", "_rule").rows() == [
        ("2", "photo cannot be read as a picture"),
        ("3", "photo cannot be read as a picture"),
        ("4", "photo is missing"),
    ]
    assert (found.counts.raw, found.counts.cleaned, found.counts.rejected) == (4, 1, 3)
    assert found.counts.by_rule == {"photo cannot be read as a picture": 2, "photo is missing": 1}


def test_pictures_as_rows_of_numbers_are_read_alike() -> None:
    raw = pl.DataFrame({"photo": [SHADES.tolist(), [[1, 2], [-3, 4]]], "n": [1, 2]})
    found = clean(raw.lazy(), Table(source=SOURCE, columns=PHOTO))
    assert found.good.collect()["photo"].to_list() == [SHADES.tobytes()]
    rejected = found.rejected.collect()
    assert rejected["_rule"].to_list() == ["photo cannot be read as a picture"]
    assert rejected["photo"].to_list() == ['{"photo":[[1,2],[-3,4]]}']


def test_a_picture_that_may_be_missing_is() -> None:
    columns = {**PHOTO, "photo": Column(type="image", size=(2, 3))}
    raw = pl.DataFrame({"photo": [None, "damaged"], "n": [1, 2]})
    found = clean(raw.lazy(), Table(source=SOURCE, columns=columns))
    assert found.good.collect().select("photo", "n").rows() == [(None, 1)]
    assert found.counts.by_rule == {"photo cannot be read as a picture": 1}


def test_texts_get_one_form_before_they_are_judged() -> None:
    given = ["  a\u030ab\n c ", " \t", None, "x  ", "123456789 0", "12345678   9"]
    raw = pl.DataFrame({"note": given, "n": list("123456")})
    found = clean(raw.lazy(), Table(source=SOURCE, columns=NOTE))
    assert found.good.collect()["note"].to_list() == ["åb c"]
    assert found.rejected.collect().select("n", "_rule").rows() == [
        ("2", "note is missing"),
        ("3", "note is missing"),
        ("4", "note is shorter than 2"),
        ("5", "note is longer than 9"),
        ("6", "note is longer than 9"),
    ]


def test_texts_that_differ_in_spaces_only_are_the_same_row_twice() -> None:
    table = Table(source=SOURCE, columns={"note": Column(type="text")}, key=["note"])
    found = clean(pl.LazyFrame({"note": ["a b", "a  b ", "c"]}), table)
    assert found.good.collect()["note"].to_list() == ["a b", "c"]
    assert found.counts.duplicates == 1
