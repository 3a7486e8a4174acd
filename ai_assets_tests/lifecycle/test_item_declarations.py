"""What a product over images or texts declares, and what it is told where it does not."""

from typing import Any

import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.product import ImageDeclaration, TabularDeclaration, TextDeclaration
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.training_set import SPLITS, splits_apart

PHOTO = {"type": "image", "size": [8, 8]}
WORDS = {"type": "string", "known_at": "NULL"}


def declared(kind: type[TabularDeclaration], columns: dict[str, Any], **more: Any) -> Any:
    return kind.model_validate(
        {
            "description": "What is it?",
            "owners": ["team:forms"],
            "request": "things",
            "tables": {"things": {"source": {"csv": "things.csv"}, "columns": columns}},
            "label": {"sql": "kind = 'x'", "positive": "x"},
            **more,
        }
    )


def test_an_image_product_reads_its_one_image() -> None:
    found = declared(ImageDeclaration, {"photo": PHOTO, "kind": WORDS})
    assert (found.item, found.features, found.kind) == ("photo", None, "image")
    assert declared(TextDeclaration, {"note": {"type": "text"}, "kind": WORDS}).item == "note"


def test_pixels_and_tokens_tell_a_linear_search_nothing_so_reductions_are_of_tables() -> None:
    columns = {"photo": PHOTO, "kind": WORDS, "team": WORDS}
    fairness = {"columns": ["team"], "mitigation": "reductions"}
    words = "fairness.mitigation of a product of kind image must be one of 'none', 'reweighing', "

    with pytest.raises(ValidationError, match=f"{words}but got 'reductions'"):
        declared(ImageDeclaration, columns, fairness=fairness)
    reweighed = declared(
        ImageDeclaration, columns, fairness=fairness | {"mitigation": "reweighing"}
    )
    assert reweighed.fairness.mitigation == "reweighing"


@pytest.mark.parametrize(
    ("kind", "columns", "words"),
    [
        (ImageDeclaration, {"kind": WORDS}, "one column of type 'image', .*but got none"),
        (ImageDeclaration, {"a": PHOTO, "b": PHOTO, "kind": WORDS}, r"but got \['a', 'b'\]"),
        (TextDeclaration, {"photo": PHOTO, "kind": WORDS}, "one column of type 'text', .*got none"),
    ],
)
def test_one_item_is_needed(kind: Any, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        declared(kind, columns)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "image"}, r"size must be \[height, width\] in pixels"),
        ({"type": "image", "size": [0, 8]}, r"each at least 1, but got \[0, 8\]"),
        ({"type": "text", "size": [8, 8]}, "size belongs to type 'image', but type is 'text'"),
        ({"type": "string", "tokens": 8}, "tokens belongs to type 'text', but type is 'string'"),
        ({"type": "text", "channels": 3}, "channels belongs to type 'image'"),
        ({"type": "text", "tokens": 3}, "greater than or equal to 4"),
    ],
)
def test_what_belongs_to_another_type_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Column.model_validate(given)


def test_shapes() -> None:
    assert Column(type="image", size=(8, 9)).shape == (8, 9, 1)
    assert Column(type="image", size=(8, 9), channels=3).shape == (8, 9, 3)
    assert Column(type="text").shape == (64,)
    assert Column(type="string").shape == ()


def test_groups_may_not_be_torn() -> None:
    import polars as pl

    rows = pl.DataFrame(
        {"_row_id": [1, 2, 3, 4], "_group": [5, 5, 6, 7], "split": [*SPLITS, "test"]}
    )
    torn = splits_apart(rows, by_time=False)
    assert (torn.passed, torn.words) == (False, "1 groups have rows in more than one split.")
    whole = rows.with_columns(split=pl.Series(["train", "train", "validation", "test"]))
    found = splits_apart(whole, by_time=False)
    assert (found.passed, found.words) == (
        True,
        "4 rows, each in one split, by hash of their 3 groups.",
    )


def test_a_family_of_another_kind_is_refused() -> None:
    columns = {"photo": PHOTO, "kind": WORDS}
    with pytest.raises(ValidationError, match="family of a product of kind 'image' must be"):
        declared(ImageDeclaration, columns, training={"families": ["probe"]})


OF_KIND = {
    TabularDeclaration: "'linear', 'lightgbm', 'mlp', 'extra_trees'",
    ImageDeclaration: "'cnn', 'linear', 'lightgbm', 'mlp'",
    TextDeclaration: "'probe', 'encoder'",
}
ITEM = {
    TabularDeclaration: {"size": {"type": "int64"}},
    ImageDeclaration: {"photo": PHOTO},
    TextDeclaration: {"note": {"type": "text"}},
}


@pytest.mark.parametrize("kind", OF_KIND)
@pytest.mark.parametrize(
    ("training", "where", "what"),
    [
        ({"families": ["forests"]}, ("families", 0), "family"),
        (
            {"parameters": {"forests": {"c": 1}}},
            ("parameters", "forests"),
            "a family in parameters",
        ),
        (
            {"ignore_features": {"forests": ["size"]}},
            ("ignore_features", "forests"),
            "a family in ignore_features",
        ),
    ],
)
def test_a_family_that_there_is_not_is_told_with_those_of_the_kind_alone(
    kind: type[TabularDeclaration], training: dict[str, Any], where: tuple[Any, ...], what: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        declared(kind, ITEM[kind] | {"kind": WORDS}, training=training)

    (one,) = raised.value.errors()
    assert one["loc"] == ("training", *where)
    assert one["msg"] == (
        f"{what} of a product of kind '{kind.kind}' must be one of {OF_KIND[kind]}, "
        "but got 'forests'."
    )


def test_the_nearest_family_is_offered_from_those_of_the_kind() -> None:
    columns = {"size": {"type": "int64"}, "kind": WORDS}

    with pytest.raises(ValidationError, match=r"but got 'lightgmb'\. Did you mean 'lightgbm'\?"):
        declared(TabularDeclaration, columns, training={"families": ["linear", "lightgmb"]})
    with pytest.raises(ValidationError, match="Input should be a valid string"):
        declared(TabularDeclaration, columns, training={"families": [3]})
    found = declared(
        TabularDeclaration,
        columns,
        training={
            "families": ["extra_trees", "mlp"],
            "parameters": {"mlp": {"width": 8}},
            "ignore_features": {"mlp": ["size"]},
        },
    )
    assert found.training.families == ["extra_trees", "mlp"]


def test_without_a_key_a_picture_or_a_row_of_a_table_is_known_by_its_content() -> None:
    assert declared(ImageDeclaration, {"photo": PHOTO, "kind": WORDS}).tables["things"].key == []
    assert declared(TextDeclaration, {"note": {"type": "text"}, "kind": WORDS}).item == "note"
    rows = declared(TabularDeclaration, {"size": {"type": "int64"}, "kind": WORDS})
    assert rows.tables["things"].key == []
