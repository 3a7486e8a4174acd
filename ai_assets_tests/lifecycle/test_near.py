"""Items that nearly repeat another: which are found, which are not, and what is said of them."""

import io
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from ai_assets.lifecycle.cleaning import clean, near_images, near_texts
from ai_assets.lifecycle.cleaning.near import general, only_repeats
from ai_assets.lifecycle.cleaning.shelf import Shelf
from ai_assets.lifecycle.features.images import canonical, pixels
from ai_assets.lifecycle.schema.near import Near, NearDuplicates
from ai_assets.lifecycle.schema.tables import Column, Table

SHAPE = (32, 32, 1)
COLUMN = Column(type="image", size=(32, 32))
QUESTION = "Which papers does the town ask for, before a house may be built by its owner alone?"


@pytest.fixture(scope="module")
def photos() -> list[Any]:
    """Parts of two photographs that scikit-learn carries, 160 x 160 pixels; the fifth is sky."""
    from sklearn.datasets import load_sample_image

    found = []
    for name in ("china.jpg", "flower.jpg"):
        whole = Image.fromarray(load_sample_image(name)).convert("L")
        corners = [(x, y) for y in (40, 220) for x in range(0, 500, 100)]
        found += [whole.crop((x, y, x + 160, y + 160)) for x, y in corners]
    return found


def seen(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return canonical(out.getvalue(), COLUMN)


def again(image: Any, quality: int) -> Any:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue()))


def apart(one: bytes, other: bytes) -> float:
    arrays = (pixels([image], SHAPE).astype(np.float32) for image in (one, other))
    return float(near_images.difference(*arrays)[0])


def images_near(images: list[bytes], within: float = 0.1) -> list[int]:
    shelf = Shelf()
    shelf.add(images)
    numbers = near_images.described(images, SHAPE)
    return near_images.leaders(numbers, shelf.read, SHAPE, within).tolist()


def texts_near(texts: list[str], within: float = 0.1) -> list[int]:
    shelf = Shelf()
    shelf.add(text.encode() for text in texts)
    return near_texts.leaders(near_texts.described(texts, within), shelf.read, within).tolist()


def test_a_photo_saved_again_or_in_another_size_is_the_same_and_others_are_not(
    photos: list[Any],
) -> None:
    sky, photos = photos[4], photos[:4] + photos[5:]
    first = [seen(photo) for photo in photos]
    saved = [seen(again(photo, 40)) for photo in photos]
    smaller = [seen(photo.resize((120, 120), Image.Resampling.LANCZOS)) for photo in photos]

    assert images_near(first) == list(range(19))
    assert images_near([*first, *saved, *smaller])[19:] == [*range(19), *range(19)]
    assert images_near([*first, *saved], within=0) == list(range(38))
    # Of what has next to no contrast nobody can say what of it is noise: it is left alone.
    assert images_near([seen(sky), seen(again(sky, 80))]) == [0, 1]


def test_a_small_thing_on_one_of_two_pictures_tells_them_apart(photos: list[Any]) -> None:
    photo = np.asarray(photos[0]).copy()
    photo[80:100, 80:100] = 255 - photo[80:100, 80:100]
    changed = Image.fromarray(photo)
    assert apart(seen(photos[0]), seen(changed)) > 0.5
    assert images_near([seen(photos[0]), seen(changed)]) == [0, 1]


def test_the_difference_is_that_of_the_worst_part_by_the_lesser_contrast() -> None:
    one = np.zeros((1, 4, 4, 1), dtype=np.float32)
    one[:, :2] = 100  # standard deviation 50
    other = one.copy()
    other[0, 0, 0] = 110  # a part of 2 x 2: sqrt(10 ** 2 / 4) = 5
    assert near_images.difference(one, other)[0] == pytest.approx(5 / 50, rel=1e-3)
    flat = np.full((1, 4, 4, 1), 7, dtype=np.float32)
    assert near_images.difference(flat, flat + 1)[0] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (5, 3, 1), (8, 8, 1), (33, 17, 3)])
def test_numbers_are_never_further_apart_than_twice_the_pixels(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    base = draw.integers(0, 256, (40, *shape))
    noisy = (base + draw.normal(0, 6, base.shape)).clip(0, 255).astype(np.uint8)
    images = [image.astype(np.uint8).tobytes() for image in (*base, *noisy)]
    numbers = near_images.described(images, shape).astype(float)
    found = pixels(images, shape).astype(np.float32)
    distance = near_images.difference(found[:40], found[40:])
    assert (np.linalg.norm(numbers[:40] - numbers[40:], axis=1) <= 2 * distance + 1e-3).all()


def brute(images: np.ndarray, within: float) -> list[int]:
    leaders: list[int] = []
    found = []
    for row in range(len(images)):
        same = np.repeat(images[row : row + 1], len(leaders), axis=0)
        near = bool(leaders) and near_images.difference(images[leaders], same).min() <= within
        leaders += [] if near else [row]
        found.append(row if not near else -1)
    return found


def test_the_search_finds_what_comparing_all_pairs_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_images, "_CHUNK", 16)  # so that several trees grow and are joined
    draw = np.random.default_rng(1)
    base = draw.integers(0, 256, (60, *SHAPE))
    rows = [base[i] + draw.normal(0, 4, SHAPE) for i in draw.integers(0, 60, 200)]
    images = [row.clip(0, 255).astype(np.uint8) for row in rows]
    found = images_near([image.tobytes() for image in images])
    expected = brute(np.stack(images).astype(np.float32), 0.1)
    assert [row if row == leader else -1 for row, leader in enumerate(found)] == expected
    assert 0 < expected.count(-1) < 200


def test_texts_are_near_but_for_upper_case_marks_and_a_few_letters() -> None:
    plain = [near_texts.plain(text) for text in (QUESTION, QUESTION.upper() + "!!", "C++", "?!")]
    assert plain[0] == plain[1]
    assert plain[2:] == ["c++", "?!"]
    typo = plain[0].replace("owner", "ovner")
    assert near_texts.difference(plain[0], typo) == pytest.approx(1 - 74 / 84)  # 5 of 79 pieces
    assert texts_near([plain[0], typo, "c++"], within=0.15) == [0, 0, 2]
    assert texts_near([plain[0], typo]) == [0, 1]


def test_another_number_makes_another_text() -> None:
    one, other = (f"{near_texts.plain(QUESTION * 5)} in {year}" for year in (2023, 2024))
    assert near_texts.difference(one, other) == 1
    assert near_texts.difference(one, one.replace("2023", "year 2023")) < 0.12


def test_minhash_finds_nearly_all_pairs_at_the_threshold_in_any_batches() -> None:
    draw = np.random.default_rng(2)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz "))
    firsts = ["".join(draw.choice(letters, 300)) for _ in range(200)]
    texts = [near_texts.plain(text) for text in firsts]
    changed = [text[:100] + "#" * 2 + text[102:200] + "#" + text[201:] for text in texts]
    apart = [near_texts.difference(a, b) for a, b in zip(texts, changed, strict=True)]
    within = max(apart)
    assert 0.05 < within < 0.12
    assert texts_near([*texts, *changed], within=within)[200:] == list(range(200))
    one_by_one = np.concatenate([near_texts.described([text], within) for text in texts[:9]])
    assert (one_by_one == near_texts.described(texts[:9], within)).all()


def declared(**near: Any) -> Near:
    return Near("note", ("topic",), NearDuplicates(**near))


def table(**more: Any) -> Table:
    columns = {"id": {"type": "int64"}, "note": {"type": "text"}, "topic": {"type": "string"}}
    given = {"source": {"csv": "x.csv"}, "key": ["id"], "columns": columns, **more}
    return Table.model_validate(given)


def rows_of(topics: str, notes: list[str | None] | None = None) -> pl.LazyFrame:
    notes = [f"{QUESTION} " + "!" * i for i in range(len(topics))] if notes is None else notes
    told = [topic if topic != "-" else None for topic in topics]
    return pl.LazyFrame({"id": range(1, len(told) + 1), "note": notes, "topic": told})


def cases() -> Iterator[tuple[str, dict[str, Any], list[int]]]:
    yield "aaa", {}, [1]
    yield "-aa", {}, [2]  # the first that has a label
    yield "---", {}, [1]
    yield "aba", {}, []
    yield "aba", {"conflicts": "first"}, [1]
    yield "-aba", {"conflicts": "each"}, [2, 3]


@pytest.mark.parametrize(("topics", "how", "stay"), cases())
def test_which_rows_stay(topics: str, how: dict[str, Any], stay: list[int]) -> None:
    found = clean(rows_of(topics), table(), declared(**how))
    assert found.good.collect()["id"].to_list() == stay
    assert found.rejected.collect().height == len(topics) - len(stay)
    assert found.counts.raw == found.counts.cleaned + found.counts.rejected


def test_reasons_name_the_row_that_is_repeated_and_are_counted_together() -> None:
    found = clean(rows_of("aa"), table(), declared())
    assert found.rejected.collect().select("id", "note", "_rule").rows() == [
        ("2", f"{QUESTION} !", "note is a near-duplicate of id 1")
    ]
    assert (found.counts.repeats, found.counts.by_rule) == (1, {"note is a near-duplicate": 1})
    found = clean(rows_of("ab"), table(), declared())
    assert found.rejected.collect()["_rule"].to_list() == [
        "note is a near-duplicate with another topic than id 2: a, not b",
        "note is a near-duplicate with another topic than id 1: b, not a",
    ]
    words = "note is a near-duplicate with another topic"
    assert (found.counts.repeats, found.counts.by_rule) == (0, {words: 2})


def test_rows_without_a_key_are_named_by_their_id_and_keys_that_are_personal_too() -> None:
    by_id = clean(rows_of("aa"), table(key=[]), declared())
    first = by_id.good.collect()["_row_id"][0]
    assert by_id.rejected.collect()["_rule"][0] == f"note is a near-duplicate of row {first}"
    columns = {**table().columns, "id": Column(type="int64", personal=True)}
    found = clean(rows_of("aa"), table(columns=columns), declared())
    assert " of row " in found.rejected.collect()["_rule"][0]


def test_only_rows_that_are_left_are_compared() -> None:
    rows = pl.LazyFrame(
        {
            "id": ["1", "2", "1", "x", "3", "4"],
            "note": [QUESTION, QUESTION, "Other.", QUESTION, None, None],
            "topic": ["a"] * 6,
        }
    )
    # Of id 1 the last row stays, which says something else: so the question of id 2 is no copy.
    found = clean(rows, table(duplicates="last"), declared())
    assert found.good.collect()["id"].to_list() == [2, 1, 3, 4]
    assert (found.counts.rejected, found.counts.duplicates, found.counts.repeats) == (1, 1, 0)


def test_rows_come_out_the_same_in_any_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of("aabab", [QUESTION, "Other", QUESTION, "other!", "third"])
    whole = clean(rows, table(), declared())
    monkeypatch.setattr(import_module("ai_assets.lifecycle.cleaning.clean"), "BATCH_ROWS", 2)
    parts = clean(rows, table(), declared())
    assert parts.counts == whole.counts
    assert parts.rejected.collect().equals(whole.rejected.collect())
    assert parts.good.collect().equals(whole.good.collect())


def test_general_words() -> None:
    assert general("note is missing") == "note is missing"
    assert general("a; b is a near-duplicate of id 7") == "a; b is a near-duplicate"
    rules = pl.Series(["n is a near-duplicate of x", "n is a near-duplicate with another t than x"])
    assert pl.select(only_repeats(pl.lit(rules))).to_series().to_list() == [True, False]


def test_what_is_declared() -> None:
    assert NearDuplicates() == NearDuplicates(within=0.1, keep="first", conflicts="none")
    for wrong in ({"within": 0.6}, {"within": -1}, {"keep": "last"}, {"withn": 0.1}):
        with pytest.raises(ValidationError):
            NearDuplicates.model_validate(wrong)


def test_a_shelf_gives_back_what_was_put_on_it_from_memory_and_from_disk() -> None:
    for in_memory in (1, 10**6):
        shelf = Shelf(in_memory)
        shelf.add([b"one", b"", b"three"])
        assert shelf.read(np.array([2, 0, 1])) == [b"three", b"one", b""]
        assert len(shelf) == 3
