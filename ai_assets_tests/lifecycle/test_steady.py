"""A feature query that asks the clock or chance is refused, and no other."""

import duckdb
import pytest

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.steady import INCONSISTENT, check_steady

# They give no value, or one of the data.
OTHERS = {"error", "sleep_ms", "stats", "vector_type", "write_log"}


@pytest.mark.parametrize(
    ("sql", "name", "line"),
    [
        ("SELECT now() FROM request", "now", 1),
        ("SELECT a,\n  RANDOM () FROM request", "random", 2),
        ("SELECT date_diff('day', placed,\n\ncurrent_date) FROM request", "current_date", 3),
        ("SELECT Current_Timestamp FROM request", "current_timestamp", 1),
        ("SELECT uuid()", "uuid", 1),
        ("SELECT age(placed) FROM request", "age", 1),
        ("SELECT age(greatest(a, b)) FROM request", "age", 1),
        ("SELECT current_localtimestamp()", "current_localtimestamp", 1),
        ("SELECT main.now()", "now", 1),
        ('SELECT "now"()', "now", 1),
        ("SELECT a FROM request USING SAMPLE 10%", "sample", 1),
        ("SELECT a FROM request TABLESAMPLE 5 ROWS", "tablesample", 1),
    ],
)
def test_what_differs_each_time_is_refused_by_name_and_line(sql: str, name: str, line: int) -> None:
    with pytest.raises(DeclarationError) as error:
        check_steady(sql, "features.sql")

    assert str(error.value) == (
        f"features.sql must give the same whenever it is asked, but in line {line} it asks {name}, "
        "which gives something else each time: a model would be asked about other features than "
        "it learned from. A row's own time is a column of request; a column of that name is "
        f'written "{name}".'
    )


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT r.now, today, "random" FROM request AS r',
        "SELECT r.current_date FROM request AS r",
        'SELECT a AS current_time, "localtime" FROM request',
        "SELECT age(placed, born), age(f(a, b), c) FROM request",
        "SELECT age, sample, tablesamples FROM request JOIN visits USING (sample)",
        "SELECT 'now()' AS said -- random()",
        "SELECT \"now\", hash(a), date_trunc('day', placed) FROM request",
        "SELECT 'unfinished",
        "",
    ],
)
def test_columns_texts_and_comments_of_such_names_are_not(sql: str) -> None:
    check_steady(sql, "features.sql")


def test_all_that_duckdb_calls_inconsistent_is_known() -> None:
    asked = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability != 'CONSISTENT'"

    assert {name for (name,) in duckdb.sql(asked).fetchall()} - OTHERS == INCONSISTENT
