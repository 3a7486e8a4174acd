"""What is left of answers when items are corrupted or attacked, and which are mistaken."""

import numpy as np
import pytest

from ai_assets.lifecycle.evaluation import attacks
from ai_assets.lifecycle.evaluation.mistakes import frequent, mistaken, surest
from ai_assets.lifecycle.evaluation.robustness import chosen, measure_robustness
from ai_assets.lifecycle.schema.tables import Column

IMAGE = Column(type="image", size=[4, 4])
TEXT = Column(type="text", tokens=16)
WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0], np.float32)


def test_accuracy_is_that_of_what_was_made_of_the_items():
    # Whoever answers by brightness withstands noise and no negative.
    items = [bytes([0] * 16), bytes([250] * 16)] * 20
    y = np.array([0, 1] * 20)

    found = measure_robustness(
        lambda given: np.array([int(np.mean(list(item)) > 127) for item in given]),
        items, y, IMAGE, 1,
    )  # fmt: skip

    by = {(c, s): a for c, s, a in found.curve.iter_rows()}
    assert (found.clean, found.rows) == (1.0, 40)
    assert by["inversion", 5] == 0.0 and by["noise", 5] == 1.0 and by["blur", 5] == 1.0
    assert found.worst == "inversion"
    assert found.mean == pytest.approx(np.mean(list(by.values())))
    assert found.table().columns == ["corruption", "1", "2", "3", "4", "5", "what"]


def test_of_texts_three_severities_are_tried():
    found = measure_robustness(
        lambda given: np.array([int("leak" in text.lower()) for text in given]),
        ["the roof has a leak", "all is well"] * 5, np.array([1, 0] * 5), TEXT, 1,
    )  # fmt: skip
    assert set(found.curve["severity"]) == {1, 3, 5}
    by = {(c, s): a for c, s, a in found.curve.iter_rows()}
    assert by["upper_case", 5] == 1.0 and by["truncation", 5] == 0.5


def test_rows_are_chosen_by_the_seed():
    assert chosen(10, 4, 1).tolist() == chosen(10, 4, 1).tolist() == sorted(chosen(10, 4, 1))
    assert chosen(3, 4, 1).tolist() == [0, 1, 2]
    assert chosen(1000, 50, 1).tolist() != chosen(1000, 50, 2).tolist()


def test_an_adversary_with_gradients_moves_each_pixel_as_far_as_allowed():
    x = np.full((2, 4), 0.5, np.float32)
    x[1, 0] = 0.98

    def loss(rows: np.ndarray) -> np.ndarray:
        return rows @ WEIGHTS

    moved = attacks.fgsm(x, lambda rows: np.tile(WEIGHTS, (len(rows), 1)), 0.1)
    assert moved[0] == pytest.approx([0.6, 0.4, 0.6, 0.5])
    assert moved[1] == pytest.approx([1.0, 0.4, 0.6, 0.5])  # no pixel is whiter than white
    walked = attacks.pgd(x, lambda rows: np.tile(WEIGHTS, (len(rows), 1)), loss, 0.1)
    assert walked == pytest.approx(moved)


def test_a_gradient_that_is_estimated_from_answers_finds_the_same():
    x = np.full((3, 4), 0.5, np.float32)

    def loss(rows: np.ndarray) -> np.ndarray:
        return rows @ WEIGHTS

    gradient = attacks.estimated_gradient(loss, 1, directions=4000)(x)
    assert gradient / gradient[:, :1] == pytest.approx(
        np.tile(WEIGHTS / WEIGHTS[0], (3, 1)), abs=0.2
    )
    walked = attacks.pgd(x, attacks.estimated_gradient(loss, 1), loss, 0.1)
    assert np.abs(walked - x).max() <= 0.1 + 1e-6
    assert (loss(walked) > loss(x) + 0.25).all()


def test_a_walk_that_leads_nowhere_leaves_the_rows_as_they_are():
    x = np.full((2, 4), 0.5, np.float32)
    worse = attacks.pgd(x, lambda rows: -np.ones_like(rows), lambda rows: rows.sum(axis=1), 0.1)
    assert (worse == x).all()


def test_slips_are_made_only_where_they_hurt_and_no_more_than_allowed():
    def loss(texts, places):
        assert len(texts) == len(places)
        return np.array([-float(text.count("leak")) for text in texts])

    found = attacks.mistyped(["a leak", "no"], loss, 1, slips=2, tries=20)
    assert "leak" not in found[0] and found[1] == "no"
    assert abs(len(found[0]) - 6) <= 2


def test_the_margin_is_above_0_where_the_answer_is_wrong():
    found = attacks.margin_loss(np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]), np.array([0, 1]))
    assert found == pytest.approx([np.log(0.2 / 0.7), np.log(0.7 / 0.2)])


def test_mistakes_are_told_by_how_frequent_and_by_how_sure():
    y = np.array([0, 0, 0, 1, 2, 2])
    p = np.array(
        [[0.1, 0.9, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0, 0, 1.0], [0, 0, 1.0], [1.0, 0, 0]]
    )
    classes = ("x", "y", "z")
    found = mistaken(list("abcdef"), y, p, p.argmax(axis=1), classes)

    assert [(m.item, m.of) for m in frequent(found)] == [("a", 3), ("c", 3), ("d", 1), ("f", 1)]
    assert [m.item for m in surest(found)] == ["d", "f", "a", "c", "b"]
    first = surest(found)[0]
    assert (first.actual, first.answered, first.probability) == ("y", "z", 1.0)
    # What is missing cannot be shown.
    some = mistaken([None, *"bcdef"], y, p, p.argmax(axis=1), classes)
    assert [(m.item, m.of) for m in some] == [("d", 1), ("f", 1), ("c", 2), ("b", 2)]
