"""A file that somebody names is scored as the server would, by what is in production."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_product import MARCH, World, failure, finding

from ai_assets.serving.batch_files import REASON, ROW

ASSET = "scored_file"


def config(**given: Any) -> dict[str, Any]:
    return {f"late_orders__{ASSET}": {"config": given}}


def orders(world: World, file: Path) -> None:
    """Write ten orders of March to a file, as a caller knows them."""
    columns = world.tools.bundles.load(released(world)).request.table.columns
    rows = world.rows("cleaned/orders", MARCH).sort("_row_id").head(10)
    given = rows.select(name for name, column in columns.items() if column.known_at is None)
    given.write_parquet(file) if file.suffix == ".parquet" else given.write_csv(file)


def released(world: World) -> str:
    return str(world.tools.ledger.history("late_orders")["stable"][-1])


def test_the_answers_are_those_of_what_is_in_production(copied: World, tmp_path: Path) -> None:
    orders(copied, tmp_path / "orders.parquet")

    run = copied.run(ASSET, config=config(file=str(tmp_path / "orders.parquet")))

    folder = copied.tools.lake.artifact(copied.product.asset(ASSET), None)
    answers = pl.read_parquet(folder / "answers.parquet")
    assert answers[ROW].to_list() == list(range(10))
    assert answers["probability"].is_between(0, 1).all()
    assert answers["prediction_id"].n_unique() == 10
    assert copied.metadata(ASSET)["bundle"] == released(copied)
    assert copied.metadata(ASSET)["scored"] == 10
    assert finding(run, "every_row_scored") == (True, "All 10 rows were scored.")


def test_a_bad_row_is_kept_with_its_reason(copied: World, tmp_path: Path) -> None:
    orders(copied, tmp_path / "orders.csv")
    lines = (tmp_path / "orders.csv").read_text().splitlines()
    at = lines[0].split(",").index("placed")
    broken = lines[4].split(",")
    broken[at] = "yesterday"
    lines[4] = ",".join(broken)
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")

    run = copied.run(ASSET, config=config(file=str(tmp_path / "orders.csv")))

    folder = copied.tools.lake.artifact(copied.product.asset(ASSET), None)
    rejected = pl.read_parquet(folder / "answers.rejected.parquet")
    assert rejected[ROW].to_list() == [3]
    assert "yesterday" in rejected[REASON][0]
    assert finding(run, "every_row_scored") == (
        False,
        "1 of 10 rows were rejected, each with a reason.",
    )


def test_a_csv_is_read_as_the_request_tables_source_is_written_unless_said_otherwise(
    copied: World, tmp_path: Path
) -> None:
    orders(copied, tmp_path / "orders.csv")
    usual = pl.read_csv(tmp_path / "orders.csv", infer_schema=False)
    commas = usual.with_columns(pl.col("weight").str.replace(".", ",", literal=True))
    commas.write_csv(tmp_path / "orders.csv", separator=";")
    world = copied.declared(
        tables__orders__source__decimal=",", tables__orders__source__delimiter=";"
    )

    file = str(tmp_path / "orders.csv")

    as_source = world.run(ASSET, config=config(file=file))
    usual_form = world.run(ASSET, config=config(file=file, as_source=False), raises=False)

    assert as_source.success and not usual_form.success
    assert finding(as_source, "every_row_scored") == (True, "All 10 rows were scored.")
    assert "is required, but missing" in failure(usual_form)


def test_an_empty_field_is_no_value_also_where_other_texts_mean_that_too(
    copied: World, tmp_path: Path
) -> None:
    orders(copied, tmp_path / "orders.csv")
    usual = pl.read_csv(tmp_path / "orders.csv", infer_schema=False)
    weights = pl.Series("weight", ["-", "", *usual["weight"][2:]])
    usual.with_columns(weights).write_csv(tmp_path / "orders.csv")
    world = copied.declared(tables__orders__source__null_values=["-"])

    run = world.run(ASSET, config=config(file=str(tmp_path / "orders.csv")))

    assert finding(run, "every_row_scored") == (True, "All 10 rows were scored.")


def test_without_a_file_nothing_is_done_and_it_is_said(copied: World) -> None:
    run = copied.run(ASSET)

    assert run.success
    assert copied.metadata(ASSET)["outcome"].startswith("No file was named. In the launchpad: ")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"file": "nowhere.parquet"}, "nowhere.parquet"),
        ({"file": "orders.txt"}, "orders.txt"),
        ({"file": "nowhere.parquet", "bundle": "late_orders:no"}, "bundle must be one that was"),
    ],
)
def test_a_file_or_bundle_that_there_is_not_is_named(
    copied: World, given: dict[str, Any], words: str
) -> None:
    run = copied.run(ASSET, config=config(**given), raises=False)

    assert not run.success
    assert words in failure(run)
