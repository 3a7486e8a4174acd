"""What goes wrong for users, and the words in which they are told."""

import gzip
import re
import shlex
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from small_product import (
    FEATURES,
    FEBRUARY,
    JANUARY,
    MARCH,
    World,
    failure,
    finding,
    write_product,
)

from ai_assets.lifecycle.errors import DataError, DeclarationError, MissingPartitionsError
from ai_assets.stages.binding import dagster_partitions

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "labels", "features")
LOOKUPS = ("raw/shops", "cleaned/shops")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The small product's folder, for a test to spoil."""
    return write_product(tmp_path / "late_orders")


@pytest.fixture
def world(folder: Path, tmp_path: Path) -> World:
    """The small product with nothing materialized."""
    return World.of(folder, tmp_path / "home")


def edit(file: Path, **columns: pl.Expr | str) -> None:
    """Rewrite columns of a CSV file, as text."""
    pl.read_csv(file, infer_schema=False).with_columns(**columns).write_csv(file)


def test_a_typo_in_the_query_names_file_line_and_nearest_column(world: World) -> None:
    sql = FEATURES.replace("v.load", "v.laod", 1)
    (world.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    world.run(*LOOKUPS)

    with pytest.raises(DeclarationError) as error:
        world.run(*DATA, partition=JANUARY)

    assert str(error.value).startswith("features.sql, line 1: ")
    assert "laod" in str(error.value) and "Did you mean 'load'?" in str(error.value)


def test_a_query_that_is_no_sql_names_the_line(world: World) -> None:
    (world.product.folder / "features.sql").write_text("SELECT _row_id\nFORM request\nWHERE 1")
    world.run(*LOOKUPS)

    with pytest.raises(DeclarationError, match=r"^features\.sql, line \d: "):
        world.run(*DATA, partition=JANUARY)


def test_a_missing_source_file_is_named(world: World) -> None:
    (world.product.folder / "orders" / "2024-01.csv").unlink()

    with pytest.raises(DataError) as error:
        world.run("raw/orders", partition=JANUARY)

    assert str(world.product.folder / "orders" / "2024-01.csv") in str(error.value)


def test_a_truncated_source_file_is_named_and_the_old_partition_stays(world: World) -> None:
    world.run("raw/orders", partition=JANUARY)
    before = world.rows("raw/orders", JANUARY)
    file = world.product.folder / "orders" / "2024-01.csv"
    packed = gzip.compress(file.read_bytes())
    file.write_bytes(packed[: len(packed) // 2])

    with pytest.raises(DataError, match=r"CSV file '.*2024-01\.csv' must be complete"):
        world.run("raw/orders", partition=JANUARY)

    assert world.rows("raw/orders", JANUARY).equals(before)


def test_a_column_renamed_upstream_is_an_error_that_offers_the_new_name(world: World) -> None:
    file = world.product.folder / "orders" / "2024-01.csv"
    pl.read_csv(file, infer_schema=False).rename({"weight": "weights"}).write_csv(file)

    with pytest.raises(DataError) as error:
        world.run("raw/orders", partition=JANUARY)

    assert "The source of table 'orders' lacks the declared column 'weight'." in str(error.value)
    assert "Did you mean 'weights'?" in str(error.value)


def test_a_new_column_upstream_says_how_to_admit_it(world: World) -> None:
    edit(world.product.folder / "orders" / "2024-01.csv", colour=pl.lit("red"))

    with pytest.raises(DataError) as error:
        world.run("raw/orders", partition=JANUARY)

    assert "has the column 'colour', which is neither declared nor ignored." in str(error.value)
    assert "adding it to tables.orders.ignore" in str(error.value)


def test_an_empty_partition_goes_through_and_its_checks_say_so(world: World) -> None:
    for table in ("orders", "visits"):
        file = world.product.folder / table / "2024-01.csv"
        pl.read_csv(file, infer_schema=False).clear().write_csv(file)
    world.run(*LOOKUPS)

    result = world.run(*DATA, "rejected/orders", "predictions", "drift", partition=JANUARY)

    assert result.success
    assert world.rows("features", JANUARY).height == 0
    assert finding(result, "both_classes") == (False, "0 of 0 labelled rows are 'late'.")
    empty = [
        event.asset_check_evaluation_data.description
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        and event.asset_check_evaluation_data.check_name == "has_rows"
    ]
    assert sorted(str(words) for words in empty) == [
        "orders has no rows for 2024-01-01.",
        "visits has no rows for 2024-01-01.",
    ]


def test_a_query_that_asks_the_clock_is_refused_and_nothing_is_written(world: World) -> None:
    sql = FEATURES.replace("v.load\n", "v.load, date_diff('day', r.placed, today()) AS age\n")
    (world.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    world.run(*LOOKUPS)

    with pytest.raises(DeclarationError, match=r"features.sql must .* it asks today, which"):
        world.run(*DATA, partition=JANUARY)
    assert not world.tools.lake.exists(world.product.asset("features"))


def test_a_window_of_empty_partitions_cannot_be_learned_from(world: World) -> None:
    file = world.product.folder / "orders" / "2024-01.csv"
    pl.read_csv(file, infer_schema=False).clear().write_csv(file)
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)

    with pytest.raises(DataError, match="as of 2024-01-01 has no labelled rows, for there are no"):
        world.run("training_set", partition=JANUARY)


def test_a_partition_with_a_single_class_is_told_by_its_check(world: World) -> None:
    edit(world.product.folder / "orders" / "2024-01.csv", delay=pl.lit("20"))
    world.run(*LOOKUPS)

    result = world.run(*DATA, partition=JANUARY)

    assert result.success
    assert finding(result, "both_classes") == (False, "600 of 600 labelled rows are 'late'.")


def test_a_constant_target_stops_before_training_with_the_label_in_words(world: World) -> None:
    edit(world.product.folder / "orders" / "2024-01.csv", delay=pl.lit("20"))
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)

    result = world.run("training_set", "tuning", partition=JANUARY, raises=False)

    assert failure(result) == (
        "training_set of late_orders as of 2024-01-01 needs rows of both classes, but all 600 "
        "labels are 1: label.sql is 'delay >= 15'."
    )


def test_a_split_with_a_single_class_is_told_in_words(world: World) -> None:
    # Only the first half of January has late orders: no validation or test row is one.
    file = world.product.folder / "orders" / "2024-01.csv"
    late = pl.col("placed") < "2024-01-10"
    edit(file, delay=pl.when(late).then("delay").otherwise(pl.lit("0")))
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)

    result = world.run("training_set", "tuning", partition=JANUARY, raises=False)

    assert failure(result) == (
        "training_set of late_orders as of 2024-01-01 needs validation rows of both classes, but "
        "all 90 labels there are 0. A longer training.window may have both, or another "
        "training.split."
    )


@pytest.mark.parametrize(
    ("rule", "cleaned", "rejected", "weight"),
    [("first", 600, 1, 1.0), ("last", 600, 1, 2.0), ("reject", 599, 3, None)],
)
def test_a_duplicate_key_is_resolved_as_declared(
    tmp_path: Path, rule: str, cleaned: int, rejected: int, weight: float | None
) -> None:
    folder = write_product(tmp_path / "late_orders", tables__orders__duplicates=rule)
    first = pl.int_range(pl.len()) == 0
    twice = pl.when(first).then(pl.lit("1.0")).when(pl.col("number") == "1").then(pl.lit("2.0"))
    edit(folder / "orders" / "2024-01.csv", weight=twice.otherwise("weight"))
    world = World.of(folder, tmp_path / "home")

    result = world.run("raw/orders", "cleaned/orders", partition=JANUARY)

    orders = world.rows("cleaned/orders", JANUARY)
    assert (orders.height, world.rows("rejected/orders", JANUARY).height) == (cleaned, rejected)
    kept = orders.filter(pl.col("number") == 1)["weight"].to_list()
    assert kept == ([] if weight is None else [weight])
    assert finding(result, "every_row_accounted_for")[0]


def test_a_table_of_two_hundred_columns_is_cleaned_and_learned_from(tmp_path: Path) -> None:
    extra = {f"column_{number:03}": {"type": "float64"} for number in range(195)}
    folder = write_product(tmp_path / "late_orders", training__window=1)
    declared = dict(World.of(folder, tmp_path).product.declaration.tables["orders"].columns)
    columns = {name: c.model_dump(exclude_none=True) for name, c in declared.items()} | extra
    write_product(folder, training__window=1, tables__orders__columns=columns)
    edit(
        folder / "orders" / "2024-01.csv",
        **{name: pl.lit(str(number)) for number, name in enumerate(extra)},
    )
    names = ", ".join(f"r.{name}" for name in extra)
    query = FEATURES.replace("r.weight", f"r.weight, {names}")
    (folder / "features.sql").write_text(query, encoding="utf-8")
    world = World.of(folder, tmp_path / "home")

    world.run(*LOOKUPS)
    world.run(*DATA, "training_set", partition=JANUARY)

    assert world.rows("cleaned/orders", JANUARY).width == 201
    assert world.rows("training_set", JANUARY).width == 195 + 4 + 5


def test_names_and_values_of_other_alphabets_go_through_to_the_scores(tmp_path: Path) -> None:
    folder = write_product(tmp_path / "late_orders", slices=["магазин"], training__window=1)
    text = (folder / "defs.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\bshop\b", "магазин", text).replace("weight:", "größe:")
    (folder / "defs.yaml").write_text(text.replace("area:", "面積:"), encoding="utf-8")
    sql = re.sub(r"\bshop\b", "магазин", FEATURES).replace("r.weight", 'r."größe"')
    (folder / "features.sql").write_text(sql.replace("s.area", "s.面積"), encoding="utf-8")
    renames = {"shop": "магазин", "weight": "größe", "area": "面積"}
    for file in folder.rglob("*.csv"):
        rows = pl.read_csv(file, infer_schema=False).rename(renames, strict=False)
        rows.with_columns(pl.col("магазин").replace("north", "北店 №1")).write_csv(file)
    world = World.of(folder, tmp_path / "home")

    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY, last=FEBRUARY)
    model = [
        "training_set", "tuning", "model/linear", "model", "compressed_model", "evaluation",
        "model_card", "bundle", "gate", "release",
    ]  # fmt: skip
    world.run(*model, partition=JANUARY)
    result = world.run("predictions", "drift", partition=FEBRUARY)

    assert result.success
    assert world.rows("predictions", FEBRUARY).height == 600
    assert set(world.rows("features", FEBRUARY).columns) == {
        "_row_id", "магазин", "größe", "面積", "load",
    }  # fmt: skip
    assert "北店 №1" in world.rows("features", FEBRUARY)["магазин"].to_list()
    assert "магазин" in world.rows("drift", FEBRUARY)["column"].to_list()


def test_missing_partitions_are_named_with_the_command_that_fills_them(
    folder: Path, tmp_path: Path
) -> None:
    write_product(folder, training__window=3)
    world = World.of(folder, tmp_path / "home")
    world.run(*LOOKUPS)
    world.run(*DATA, partition=JANUARY)
    world.run("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", partition=FEBRUARY)
    world.run("labels", partition=FEBRUARY, last=FEBRUARY)

    with pytest.raises(MissingPartitionsError) as error:
        world.run("training_set", partition=MARCH)

    words = str(error.value)
    assert words.startswith(
        "2 needed partition(s) of late_orders/features and late_orders/labels are missing: "
        "2024-02-01, 2024-03-01. Fill them with:"
    )
    assert selected_by(world, words) == {
        "late_orders/raw/orders", "late_orders/cleaned/orders", "late_orders/raw/visits",
        "late_orders/cleaned/visits", "late_orders/raw/shops", "late_orders/cleaned/shops",
        "late_orders/features", "late_orders/feedback", "late_orders/labels",
    }  # fmt: skip
    assert command_of(words)["--partition-range"] == f"{FEBRUARY}...{MARCH}"


def test_a_missing_earlier_partition_of_a_feature_is_named_too(world: World) -> None:
    world.run(*LOOKUPS)
    world.run("raw/orders", "cleaned/orders", partition=JANUARY, last=FEBRUARY)
    world.run("raw/visits", "cleaned/visits", partition=FEBRUARY)

    with pytest.raises(MissingPartitionsError) as error:
        world.run("features", partition=FEBRUARY)

    words = str(error.value)
    assert "1 needed partition(s) of late_orders/cleaned/visits are missing: 2024-01-01." in words
    assert command_of(words)["--partition"] == JANUARY
    assert selected_by(world, words) == {"late_orders/raw/visits", "late_orders/cleaned/visits"}


def command_of(words: str) -> dict[str, str]:
    """The options of the command that a message ends with."""
    command = shlex.split(words.split("Fill them with:")[1])
    assert command[:5] == ["dagster", "asset", "materialize", "-m", "ai_assets.definitions"]
    return dict(zip(command[5::2], command[6::2], strict=True))


def selected_by(world: World, words: str) -> set[str]:
    """The assets that the command of a message selects, by Dagster's own parser."""
    graph = dg.Definitions(assets=world.assets, resources=vars(world.tools)).resolve_asset_graph()
    selection = dg.AssetSelection.from_string(command_of(words)["--select"])
    return {key.to_user_string() for key in selection.resolve(graph)}


def test_the_printed_range_is_one_that_dagster_knows(world: World) -> None:
    partitions = dagster_partitions(world.product.partitions)

    assert partitions is not None
    span = dg.PartitionKeyRange(FEBRUARY, MARCH)
    assert list(partitions.get_partition_keys_in_range(span)) == [FEBRUARY, MARCH]
