"""What breaks whoever calls a bundle, one change at a time, and what does not."""

from typing import Any

import pytest

from ai_assets.lifecycle.gate.compatible import incompatible
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Table

COLUMNS: dict[str, dict[str, Any]] = {
    "shop": {"type": "string", "allowed": ["east", "north"]},
    "code": {"type": "string", "pattern": "[A-Z]+"},
    "weight": {"type": "float64", "min": 0, "max": 10},
    "note": {"type": "string"},
    "number": {"type": "int64", "nullable": False},
}
ANSWER = Decision("binary", "late", 0.5, ("not late", "late"))


def table(changes: dict[str, dict[str, Any] | None] | None = None) -> Table:
    """The request table; a column changed to None is gone."""
    columns: dict[str, Any] = {name: dict(column) for name, column in COLUMNS.items()}
    for name, change in (changes or {}).items():
        if change is None:
            del columns[name]
        else:
            columns[name] = {**columns.get(name, {}), **change}
    return Table.model_validate({"source": {"csv": "orders.csv"}, "columns": columns})


def broken(changes: dict[str, dict[str, Any] | None]) -> list[str]:
    return incompatible((table(), ANSWER), (table(changes), ANSWER))


def test_the_same_schema_breaks_nobody() -> None:
    assert broken({}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": None}, "weight can no longer be sent"),
        ({"area": {"type": "int64", "nullable": False}}, "area must be sent, which callers do not"),
        ({"weight": {"type": "string", "min": None, "max": None}}, "of type string, was float64"),
        ({"weight": {"nullable": False}}, "weight may no longer be missing"),
        ({"weight": {"min": 1}}, "weight must be at least 1.0, was 0.0"),
        ({"number": {"min": 1}}, "number must be at least 1.0, was unlimited"),
        ({"weight": {"max": 9}}, "weight must be at most 9.0, was 10.0"),
        ({"number": {"max": 9}}, "number must be at most 9.0, was unlimited"),
        ({"shop": {"allowed": ["east", "south"]}}, "shop no longer allows ['north']"),
        ({"note": {"allowed": ["a"]}}, "note allows only ['a'], was free"),
        ({"code": {"pattern": "[A-M]+"}}, "code must match '[A-M]+', was [A-Z]+"),
        ({"note": {"pattern": "[a-z]*"}}, "note must match '[a-z]*', was free"),
        ({"note": {"unknown": "reject"}}, "note is refused where training never saw its text"),
    ],
    ids=lambda given: str(given)[:50],
)
def test_what_a_caller_could_no_longer_do_is_named(changes: dict[str, Any], words: str) -> None:
    (found,) = broken(changes)

    assert words in found


@pytest.mark.parametrize(
    "changes",
    [
        {"area": {"type": "int64"}},
        {"number": {"nullable": True}},
        {"weight": {"min": -1, "max": 11}},
        {"weight": {"min": None, "max": None}},
        {"shop": {"allowed": ["east", "north", "south"]}},
        {"shop": {"allowed": None}},
        {"code": {"pattern": None}},
        {"code": {"description": "A code.", "example": "AB"}},
    ],
    ids=lambda given: str(given)[:50],
)
def test_what_widens_breaks_nobody(changes: dict[str, Any]) -> None:
    assert broken(changes) == []


def test_every_break_is_named_at_once() -> None:
    found = broken({"note": None, "weight": {"min": 1, "max": 9}})

    assert found == [
        "note can no longer be sent",
        "weight must be at least 1.0, was 0.0",
        "weight must be at most 9.0, was 10.0",
    ]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            Decision("multiclass", "late", 0.5, ("not late", "late")),
            ["the answer is a multiclass one, was binary"],
        ),
        (
            Decision("binary", "delayed", 0.5, ("not delayed", "delayed")),
            ["answers are ['not delayed', 'delayed'], were ['not late', 'late']"],
        ),
        (Decision("binary", "late", 0.3, ("not late", "late")), []),
    ],
)
def test_the_answer_keeps_its_kind_and_its_words(after: Decision, words: list[str]) -> None:
    assert incompatible((table(), ANSWER), (table(), after)) == words
