from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.labels import completed, label_rows
from ai_assets.stages.labels import both_classes

ROWS = pl.DataFrame(
    {
        "_row_id": [3, 1, 2],
        "at": [datetime(2013, 1, day, tzinfo=UTC) for day in (3, 1, 2)],
        "delay": [20, 5, None],
    }
)


def test_a_label_is_one_zero_or_missing_and_known_after_the_declared_delay() -> None:
    labels = label_rows(ROWS, "delay >= 15", "at", timedelta(days=1))

    assert labels["_row_id"].to_list() == [1, 2, 3]
    assert labels["label"].to_list() == [0.0, None, 1.0]
    assert labels["known_at"][2] == datetime(2013, 1, 4, tzinfo=UTC)


def test_a_table_without_time_gives_labels_without_moments() -> None:
    assert label_rows(ROWS, "delay >= 15", None, timedelta(0)).columns == ["_row_id", "label"]


def test_a_typo_in_the_label_says_what_duckdb_said() -> None:
    with pytest.raises(DeclarationError, match=r"label.sql is not valid: 'dely >= 15'.*dely"):
        label_rows(ROWS, "dely >= 15", "at", timedelta(0))


def test_a_label_must_be_zero_or_one() -> None:
    with pytest.raises(DeclarationError, match=r"must give true, false, 0, 1 or null.* gave 5.0"):
        label_rows(ROWS, "delay", "at", timedelta(0))


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (["b", "a", None], ("a", "b")),
        ([2, 1, None], ("1", "2")),
        ([2.0, 1.0, None], ("1", "2")),
        ([True, False, None], ("false", "true")),
    ],
)
def test_a_class_is_a_word_a_number_or_a_truth(given: list, classes: tuple[str, ...]) -> None:
    rows = pl.DataFrame({"_row_id": [3, 1, 2], "of": given})
    labels = label_rows(rows, "of", None, timedelta(0), classes)
    assert labels.rows() == [(1, 0.0), (2, None), (3, 1.0)]


def test_a_class_that_is_not_declared_is_told_with_the_nearest() -> None:
    rows = pl.DataFrame({"_row_id": [1, 2], "of": ["röd", "rod"]})
    with pytest.raises(DeclarationError, match=r"one of 'röd', 'blå', but got 'rod'.*'röd'\?"):
        label_rows(rows, "of", None, timedelta(0), ("röd", "blå"))


def test_both_classes_are_asked_for() -> None:
    assert both_classes(3, 10, "late").passed
    assert not both_classes(0, 10, "late").passed
    assert not both_classes(10, 10, "late").passed
    assert both_classes(0, 10, "late").words == "0 of 10 labelled rows are 'late'."


def test_rows_without_a_time_are_completed_by_their_id_alone() -> None:
    labels = pl.DataFrame({"_row_id": [1, 2, 3], "label": [None, 1.0, None]})
    told = pl.DataFrame(
        {"_row_id": [2, 1, 9], "label": [0.0, 1.0, 1.0]},
    ).with_columns(
        event_time=pl.lit(None, pl.Datetime("us", "UTC")),
        known_at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC)),
    )

    found = completed(labels, told)

    assert found.rows.rows() == [(1, 1.0), (2, 1.0), (3, None)]
    assert (found.taken, found.contradicted, found.strange) == (1, 1, 1)


def test_what_was_told_as_the_source_has_it_contradicts_nothing() -> None:
    labels = label_rows(ROWS, "delay >= 15", "at", timedelta(days=1))
    told = labels.drop_nulls("label").with_columns(known_at=pl.col("known_at") + timedelta(days=9))

    found = completed(labels, told)

    assert found.rows.equals(labels)
    assert (found.taken, found.contradicted, found.strange) == (0, 0, 0)
