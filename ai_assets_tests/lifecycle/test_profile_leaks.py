"""Columns that a profile finds to be known only after what is predicted."""

from pathlib import Path

import numpy as np
import polars as pl
import yaml

from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.profile.leaking import told_by_gaps
from ai_assets.lifecycle.schema.tables import Table


def proposed(folder: Path) -> dict[str, str]:
    """The files of a product over the deliveries."""
    deliveries().write_csv(folder / "rows.csv")
    return propose(Asked(folder / "rows.csv", "late"))


def table_of(text: str) -> Table:
    """The table that is declared."""
    return TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"]).tables["rows"]


def deliveries() -> pl.DataFrame:
    """Orders with moments before, ahead of and after them, on 240 days."""
    luck = np.random.default_rng(4)
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 8, 27), "1d", eager=True)
    ordered = pl.Series("ordered_at", [d for d in days for _ in range(10)]).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"ordered_at": ordered}).with_columns(
        delivered=pl.col("ordered_at") + pl.duration(days=pl.int_range(pl.len()) % 5 + 1),
        due_date=(pl.col("ordered_at") + pl.duration(days=3)).cast(pl.Date),
        last_visit=(pl.col("ordered_at") - pl.duration(days=9)).cast(pl.Date),
        size=pl.int_range(pl.len()) % 17,
    )
    late = luck.random(frame.height) < 0.3
    noted = late & (luck.random(frame.height) < 0.4)
    return frame.with_columns(
        delivered=pl.when(pl.int_range(pl.len()) % 9 > 0).then("delivered"),
        complaint=pl.when(pl.Series(noted)).then(pl.int_range(pl.len()) % 3),
        coupon=pl.when(pl.Series(luck.random(frame.height) < 0.2)).then(pl.int_range(pl.len()) % 3),
        late=pl.Series(late),
    )


def test_a_moment_after_the_row_s_own_is_known_then_and_a_plan_before(tmp_path: Path) -> None:
    files = proposed(tmp_path)

    table = table_of(files["defs.yaml"])
    assert table.columns["delivered"].known_at == "delivered"
    words = "# later than ordered_at in 100.0% of the rows: known then, not before"
    assert words in files["defs.yaml"]
    query = files["features.sql"]
    assert "due_date_days_before" in query and "last_visit_days_before" in query
    assert "delivered" not in query


def test_a_column_that_is_filled_for_one_class_alone_is_left_out(tmp_path: Path) -> None:
    text = proposed(tmp_path)["defs.yaml"]

    assert "- complaint   # known after the target: filled only where late is true" in text
    assert "coupon: {type: int64" in text


def test_gaps_tell_a_target_by_what_is_filled_or_missing_of_any_task() -> None:
    classes = pl.Series("kind", ["a", "b", "c", "a"] * 50)
    only_c = pl.Series("x", [1.0 if kind == "c" else None for kind in classes])
    not_c = pl.Series("x", [None if kind == "c" else 1.0 for kind in classes])
    some = pl.Series("x", [1.0, None, None, 2.0, 3.0] * 40)
    paid = pl.Series("paid", [0.0, 0.0, 0.0, 7.5] * 50)
    when = pl.Series("x", [None if value == 0 else 1.0 for value in paid])

    assert told_by_gaps(only_c, classes, "multiclass") == "filled only where kind is c"
    assert told_by_gaps(not_c, classes, "multiclass") == "missing only where kind is c"
    assert told_by_gaps(some, classes, "multiclass") is None
    assert told_by_gaps(when, paid, "regression") == "filled only where paid is not 0"
    few = pl.Series("x", [1.0] * 20 + [None] * 180)
    assert told_by_gaps(few, pl.Series("y", ["a"] * 20 + ["b"] * 180), "binary") == (
        "missing only where y is b"
    )
