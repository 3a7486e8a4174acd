"""What the data changed and what a person changed, as one text."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.lifecycle.profile.merging import merged

BASE = ["a: 1", "b: 2", "c: 3", "d: 4"]
LINES = st.lists(st.sampled_from([*BASE, "b: 9", "c: 7", "e: 5", "f: 6"]), max_size=8, unique=True)


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_neighbours_may_be_changed_by_both() -> None:
    mine, theirs = ["a: 1", "b: 20", "c: 3", "d: 4"], ["a: 1", "b: 2", "c: 30", "d: 4"]

    found = merged(text(*BASE), text(*mine), text(*theirs), named=True)

    assert (found.text, found.kept) == (text("a: 1", "b: 20", "c: 30", "d: 4"), ())


def test_new_lines_of_both_stand_where_each_put_them() -> None:
    mine, theirs = ["a: 1", "x: 8", *BASE[1:]], [*BASE[:3], "y: 9", "d: 4"]

    found = merged(text(*BASE), text(*mine), text(*theirs), named=True)

    assert found.text == text("a: 1", "x: 8", "b: 2", "c: 3", "y: 9", "d: 4")


def test_what_a_person_took_out_stays_out_and_is_told_where_the_data_changed_it() -> None:
    theirs = ["a: 1", "b: 20", "c: 3", "d: 4"]

    found = merged(text(*BASE), text("a: 1", "c: 3", "d: 4"), text(*theirs), named=True)

    assert (found.text, found.kept) == (text("a: 1", "c: 3", "d: 4"), (("", "b: 20"),))


def test_what_the_data_has_no_more_goes_unless_a_person_changed_it() -> None:
    theirs = ["a: 1", "d: 4"]

    found = merged(text(*BASE), text("a: 1", "b: 2", "c: 33", "d: 4"), text(*theirs), named=True)

    assert (found.text, found.kept) == (text("a: 1", "c: 33", "d: 4"), (("c: 33", ""),))


def test_lines_without_names_that_both_changed_stay_together() -> None:
    found = merged(text("r.x"), text("r.x / 2 AS x"), text("r.x,", "r.y"), named=False)

    assert (found.text, found.kept) == (text("r.x / 2 AS x"), (("r.x / 2 AS x", "r.x,\nr.y"),))


@given(LINES, LINES)
@settings(max_examples=200, deadline=None)
def test_who_changed_nothing_takes_what_the_other_has(old: list[str], new: list[str]) -> None:
    for named in (True, False):
        assert merged(text(*old), text(*old), text(*new), named=named).text == text(*new)
        assert merged(text(*old), text(*new), text(*old), named=named).text == text(*new)
        both = merged(text(*old), text(*new), text(*new), named=named)
        assert (both.text, both.kept) == (text(*new), ())
