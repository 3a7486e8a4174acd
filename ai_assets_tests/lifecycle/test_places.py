"""Where a person's rows may be: behind an address, in an object store or in a database."""

import gzip
import sqlite3
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
import yaml

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.product import TabularDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets_tests.http_servers import file_server
from ai_assets_tests.object_store import ObjectStore, object_store

ROWS = pl.DataFrame({"size": [i % 9 for i in range(90)]}).with_columns(
    late=pl.when(pl.int_range(90) % 7 < 3).then(pl.lit("yes")).otherwise(pl.lit("no"))
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of the folder `tmp_path` on this machine."""
    with file_server(tmp_path) as running:
        yield running


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store that the environment names."""
    with object_store() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE orders (size, late)")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", ROWS.rows())
    return file


def table_of(text: str) -> Table:
    """The request table that a declaration declares."""
    declared = TabularDeclaration.model_validate(yaml.safe_load(text)["attributes"])
    return declared.tables[declared.request]


def rows_of(table: Table) -> pl.DataFrame:
    """The rows as the stage `raw` reads them."""
    return read_source(table.source, None, table=table, folder=Path("/nowhere")).collect()


def test_a_file_behind_an_address_is_declared_with_its_address(
    address: str, tmp_path: Path
) -> None:
    text = ROWS.write_csv(separator=";")
    (tmp_path / "late orders.csv.gz").write_bytes(gzip.compress(text.encode()))
    url = f"{address}/late%20orders.csv.gz"

    declared = propose(Asked(url, "late"))["defs.yaml"]

    table = table_of(declared)
    assert f'source: {{http: {{url: "{url}", format: csv}}, delimiter: ";"}}' in declared
    assert declared.startswith("# Written from late orders.csv.gz: all 90 rows, 2 columns.\n")
    assert "  late_orders:\n" in declared
    assert rows_of(table).height == 90


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.ndjson"])
def test_a_file_in_an_object_store_is_read_there(store: ObjectStore, name: str) -> None:
    kind, content = name.rpartition(".")[2], BytesIO()
    write = {"csv": partial(ROWS.write_csv, separator="|"), "parquet": ROWS.write_parquet}
    write.get(kind, ROWS.write_ndjson)(content)
    store.put("bucket", name, content.getvalue())

    table = table_of(propose(Asked(f"s3://bucket/{name}", "late"))["defs.yaml"])

    delimiter = {"delimiter": "|"} if kind == "csv" else {}
    given = {kind: f"s3://bucket/{name}", **delimiter}
    assert table.source == Source.model_validate(given)
    assert table.columns["size"].type == "int64"
    assert rows_of(table).height == 90
    read = [answer for answer in store.answers() if answer.method == "GET"]
    assert {(one.name, one.part, one.status) for one in read} == {(f"bucket/{name}", True, 206)}


@pytest.mark.usefixtures("store")
def test_what_is_not_in_an_object_store_is_told_by_name() -> None:
    with pytest.raises(DataError, match=r"'s3://bucket/none\.parquet' must be"):
        propose(Asked("s3://bucket/none.parquet", "late"))
    with pytest.raises(DataError, match=r"'s3://bucket/none\.csv' must be a file that can be read"):
        propose(Asked("s3://bucket/none.csv", "late"))


def test_an_address_that_answers_with_a_page_is_told_so(address: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("<!DOCTYPE html><html>Log in</html>", encoding="utf-8")

    with pytest.raises(DataError) as raised:
        propose(Asked(f"{address}/rows.csv", "late"))

    assert str(raised.value).startswith(f"File '{address}/rows.csv' must be rows of text, but it ")
    with pytest.raises(DataError, match="status 200, but got 404"):
        propose(Asked(f"{address}/gone.csv", "late"))


@pytest.mark.parametrize(
    "asked",
    [{"table": "orders"}, {"query": "SELECT size, late FROM orders WHERE size < 8"}],
    ids=["table", "query"],
)
def test_rows_of_a_database_are_declared_with_what_reads_them(
    database: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    monkeypatch.chdir(database.parent)

    declared = propose(Asked("sqlite:///shop.db", "late", **asked))["defs.yaml"]

    table = table_of(declared)
    assert table.source.sql is not None
    assert table.source.sql.url == f"sqlite:///{database}"  # from wherever it is read
    assert (table.source.sql.table, table.source.sql.query) == (
        asked.get("table"),
        asked.get("query"),
    )
    assert rows_of(table).height == (90 if "table" in asked else 80)
    assert table.columns["size"].type == "int64"
    assert ("  orders:\n" in declared) == ("table" in asked)


def test_a_password_is_taken_from_the_environment_and_not_written(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP", str(database))

    declared = propose(Asked("sqlite:///$SHOP", "late", table="orders"))["defs.yaml"]

    assert 'url: "sqlite:///$SHOP"' in declared and str(database) not in declared
    for url in ("postgresql://me:hush@host/x", "https://host/a.csv?token=hush"):
        with pytest.raises(DataError) as raised:
            propose(Asked(url, "late"))
        assert "must hold no password or token" in str(raised.value)
        assert "hush" not in str(raised.value)


def test_words_for_missing_are_declared_only_where_a_source_can_be_told(
    tmp_path: Path, database: Path
) -> None:
    frame = ROWS.with_columns(
        size=pl.when(pl.col("size") == 3).then(pl.lit("?")).otherwise(pl.col("size").cast(str))
    )
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_csv(tmp_path / "rows.csv")

    told = table_of(propose(Asked(tmp_path / "rows.csv", "late"))["defs.yaml"])
    untold = table_of(propose(Asked(tmp_path / "rows.parquet", "late"))["defs.yaml"])

    assert (told.columns["size"].type, told.source.null_values) == ("int64", ["", "NA", "?"])
    assert untold.columns["size"].type == "string"


def test_a_delta_table_is_one_source(tmp_path: Path) -> None:
    ROWS.write_delta(str(tmp_path / "orders"))

    table = table_of(propose(Asked(tmp_path / "orders", "late"))["defs.yaml"])

    assert table.source.delta == str(tmp_path / "orders")
    assert rows_of(table).height == 90
