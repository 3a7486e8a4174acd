"""What happens to pictures and texts, by value."""

import numpy as np
import pytest

from ai_assets.lifecycle.corruptions import SEVERITIES, corrupt, corruptions_of
from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.images import pixels
from ai_assets.lifecycle.features.text_numbers import language
from ai_assets.lifecycle.schema.tables import Column

IMAGE = Column(type="image", size=[16, 12])
TEXT = Column(type="text", tokens=48)
QUESTION = "What does a building permit cost for a small house in Gothenburg?"
FRÅGA = "Vad kostar ett bygglov för en liten stuga på Öland?"


def bar(count: int = 1) -> list[bytes]:
    """Pictures with a white bar down the middle, on black."""
    drawn = np.zeros((16, 12, 1), np.uint8)
    drawn[3:13, 5:7] = 255
    return [drawn.tobytes()] * count


def shown(name: str, severity: int = 5, count: int = 40) -> np.ndarray:
    """Corrupted bars, float [n, 16, 12]."""
    return pixels(corrupt(bar(count), IMAGE, name, severity, 1), IMAGE.shape)[..., 0].astype(float)


@pytest.mark.parametrize("column", [IMAGE, TEXT], ids=["image", "text"])
def test_every_corruption_is_the_same_by_the_same_seed_and_grows_with_severity(column):
    items = bar(30) if column.type == "image" else [QUESTION, FRÅGA] * 15
    for name, words in corruptions_of(column).items():
        by_severity = [corrupt(items, column, name, severity, 7) for severity in SEVERITIES]
        assert by_severity[2] == corrupt(items, column, name, 3, 7), name
        differing = [np.mean([a != b for a, b in zip(items, c, strict=True)]) for c in by_severity]
        assert differing == sorted(differing) and differing[-1] >= 0.9, (name, differing)
        assert len(words) > 10 and not words.endswith("."), name


@pytest.mark.parametrize("column", [IMAGE, TEXT], ids=["image", "text"])
def test_what_is_missing_stays_missing_and_in_its_place(column):
    item = bar()[0] if column.type == "image" else FRÅGA
    for name in corruptions_of(column):
        found = corrupt([None, item, None], column, name, 5, 1)
        assert found[0] is None and found[2] is None and found[1] != item, name
        assert corrupt([None], column, name, 5, 1) == [None]


def test_pictures_keep_their_form():
    for name in corruptions_of(IMAGE):
        found = corrupt(bar(3), IMAGE, name, 4, 1)
        assert [len(image) for image in found] == [16 * 12] * 3, name


def test_blur_keeps_the_light_and_spreads_it():
    found = shown("blur")[0]
    assert found.sum() == pytest.approx(20 * 255, rel=0.03)
    assert found.max() < 150 < shown("blur", 1)[0].max()


def test_inversion_at_its_worst_is_the_negative():
    assert (shown("inversion")[0] == 255 - pixels(bar(), IMAGE.shape)[0, :, :, 0]).all()
    # Before that the brightest alone turn.
    assert shown("inversion", 1)[0].max() == 0


def test_noise_has_the_declared_spread_where_nothing_is_cut_off():
    grey = [bytes([128]) * (16 * 12)] * 20
    spread = pixels(corrupt(grey, IMAGE, "noise", 2, 1), IMAGE.shape).std() / 255
    assert spread == pytest.approx(0.12, abs=0.005)


def test_rotation_leans_to_either_side_by_the_declared_angle():
    angles = []
    for image in shown("rotation", 3):
        y, x = np.nonzero(image > 100)
        angles.append(np.degrees(np.arctan(np.polyfit(y, x, 1)[0])))
    assert np.abs(angles) == pytest.approx(25, abs=7)
    assert 0.25 < np.mean(np.array(angles) > 0) < 0.75


def test_shift_moves_by_the_declared_share_of_the_side_and_tears_nothing():
    found = shown("shift", 3)
    y, x = (found.sum(axis=axis) @ np.arange(n) for axis, n in ((2, 16), (1, 12)))
    mass = found.sum(axis=(1, 2))
    moved = np.hypot(y / mass - 7.5, x / mass - 5.5)
    assert (mass == 20 * 255).all()
    assert moved.min() >= 1 and moved.max() <= 0.18 * 16 + 1
    small = shown("shift", 1)
    assert (small.reshape(40, -1) != shown("shift", 1, 1).reshape(-1)).any()
    assert all((image != pixels(bar(), IMAGE.shape)[0, :, :, 0]).any() for image in small)


def test_brightness_adds_light_everywhere():
    found = shown("brightness", 2)[0]
    assert found.min() == round(0.2 * 255) and found.max() == 255


def test_colours_are_corrupted_together_and_keep_three_channels():
    colour = Column(type="image", size=[8, 8], channels=3)
    red = np.zeros((8, 8, 3), np.uint8)
    red[2:6, 2:6, 0] = 200
    found = pixels(corrupt([red.tobytes()], colour, "shift", 3, 1), colour.shape)[0]
    assert found[..., 0].sum() == 16 * 200 and found[..., 1:].sum() == 0


def test_another_language_is_one_that_the_texts_are_not_in():
    assert {language(t) for t in corrupt([QUESTION, FRÅGA], TEXT, "wrong_language", 5, 1)} == {"fi"}
    finnish = ["Paljonko rakennuslupa maksaa pienelle talolle kaupungissa?"] * 3
    assert {language(t) for t in corrupt(finnish, TEXT, "wrong_language", 5, 1)} == {"de"}
    few = corrupt([QUESTION], TEXT, "wrong_language", 1, 1)[0].split()
    assert 0 < sum(a != b for a, b in zip(few, QUESTION.split(), strict=True)) <= 5


def test_truncation_leaves_the_declared_share_and_at_least_a_letter():
    assert [len(corrupt(["a" * 100], TEXT, "truncation", s, 1)[0]) for s in SEVERITIES] == [
        80, 60, 40, 25, 10,
    ]  # fmt: skip
    assert corrupt(["x"], TEXT, "truncation", 5, 1) == ["x"]


def test_encoding_damage_is_that_of_utf8_read_as_windows_1252():
    assert corrupt(["för på"], TEXT, "encoding_damage", 1, 1) == ["fÃ¶r pÃ¥"]
    twice = corrupt(["ö" * 200], TEXT, "encoding_damage", 3, 1)[0]
    assert twice.replace("\ufffd", "")[:4] in ("ÃƒÂ¶", "ƒÂ¶Ã")
    lost = corrupt(["a" * 1000], TEXT, "encoding_damage", 5, 1)[0].count("\ufffd")
    assert 200 < lost < 300


def test_typos_change_the_declared_share_of_letters_and_nothing_else():
    letters = "e" * 4000
    slipped = corrupt([letters], TEXT, "typos", 3, 1)[0]
    # A quarter each is lost, doubled, swapped with its like, or becomes the key beside.
    assert slipped.count("w") + slipped.count("r") == pytest.approx(4000 * 0.12 / 4, rel=0.25)
    assert corrupt(["12 + 34 = 46"], TEXT, "typos", 5, 1) == ["12 + 34 = 46"]


def test_words_are_shouted_and_jumbled_but_remain():
    assert corrupt([QUESTION], TEXT, "upper_case", 5, 1) == [QUESTION.upper()]
    jumbled = corrupt([QUESTION], TEXT, "word_order", 5, 1)[0].split()
    assert sorted(jumbled) == sorted(QUESTION.split()) and jumbled != QUESTION.split()
    words = [str(i) for i in range(200)]
    near = corrupt([" ".join(words)], TEXT, "word_order", 1, 1)[0].split()
    assert 0 < max(abs(place - int(word)) for place, word in enumerate(near)) <= 2


def test_an_unknown_corruption_or_severity_is_refused_by_name():
    with pytest.raises(DeclarationError, match=r"but got 'blurr'\. Did you mean 'blur'"):
        corrupt(bar(), IMAGE, "blurr", 1, 1)
    with pytest.raises(DeclarationError, match="whole number from 1 to 5, but got 6"):
        corrupt(bar(), IMAGE, "blur", 6, 1)
    with pytest.raises(DeclarationError, match="corruption must be one of nothing"):
        corrupt([1], Column(type="int64"), "blur", 1, 1)
