"""Files and arguments that nothing can be scaffolded from.

Each is written from a seed, with the words that its own message must have: what was given, and what
is allowed. `own_data.py` runs all of them, and so do the tests.
"""

import bz2
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa
from starts import (
    TARGET,
    Arguments,
    Start,
    as_file,
    changed,
    database,
    folder_of,
    ndjson,
    parquet,
    plain,
    rows_of,
    table,
    zipped,
)
from wrong_texts import TEXTS

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_SHEET = "xl/worksheets/sheet1.xml"


def _zipped(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")
    return held.getvalue()


def _zstd(lines: list[str]) -> bytes:
    packed = pa.compress("\n".join(lines).encode(), codec="zstd", asbytes=True)
    return bytes(packed)


def _flipped(content: bytes, luck: Random) -> bytes:
    """With a stretch of bytes in the middle changed."""
    at = len(content) // 2 + luck.randrange(10)
    return content[:at] + bytes(255 - b for b in content[at : at + 20]) + content[at + 20 :]


def _parts(*columns: str) -> Callable[[Path, Random], None]:
    def write(folder: Path, luck: Random) -> None:
        for number, name in enumerate(columns):
            table(luck).rename({"age": name}).write_parquet(folder / f"{number}.parquet")

    return write


def _closed(folder: Path, luck: Random) -> Arguments:
    arguments = changed("customers.csv", lambda lines, _: lines)(folder, luck)
    (folder / "customers.csv").chmod(0)
    for parent in (folder, *folder.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return arguments


def _broken_part(folder: Path, luck: Random) -> None:
    _parts("age", "age")(folder, luck)
    (folder / "1.parquet").write_bytes((folder / "1.parquet").read_bytes()[:-30])


def _a_csv(folder: Path, luck: Random) -> None:
    (folder / "may.csv").write_text("\n".join(rows_of(luck)), encoding="utf-8")


WRONG: tuple[Start, ...] = (
    *TEXTS,
    Start("no such file", "Did you mean 'customers.csv'?", plain("--data", "FOLDER/customer.csv")),
    Start("no such folder", "exists, but got", plain("--data", "FOLDER/none/at/all.csv")),
    Start("an empty folder", "none: it is empty", folder_of()),
    Start("a folder of CSV files", "it holds may.csv. Of other files give one", folder_of(_a_csv)),
    Start("a device", "is a device or a pipe", plain("--data", "/dev/null")),
    Start("no permission", "no permission to read it", _closed, as_nobody=True),
    Start("a template as path", "must be without {", as_file("a{b}.csv", "x,y\n1,2\n")),
    Start("no suffix", "but got 'customers'", as_file("customers", "x,y\n1,2\n")),
    Start(
        "a name that is none",
        "lower case letters, digits and underscores",
        lambda f, luck: ["My Churn", *changed("a.csv", lambda x, _: x)(f, luck)],
    ),
    Start(
        "Parquet cut off",
        "its end is missing: was it still being written",
        parquet("a.parquet", lambda x, _: x[: len(x) // 2]),
    ),
    Start(
        "Parquet with a damaged end",
        "must be complete Parquet with the same columns",
        parquet("a.parquet", lambda x, luck: x[:-40] + luck.randbytes(36) + x[-4:]),
    ),
    Start("an empty Parquet file", "Parquet, but the file is empty", as_file("a.parquet", "")),
    Start("CSV named .parquet", "Is it CSV?", changed("a.parquet", lambda x, _: x)),
    Start("Parquet named .csv", "it is Parquet: let its name end in .parquet", parquet("a.csv")),
    Start(
        "Parquet without rows",
        "must have rows, but it has none",
        parquet("a.parquet", age=[], churned=[]),
    ),
    Start(
        "Parquet of lists only",
        "tags: no kind of value that a column can hold: List(Int64)",
        parquet("a.parquet", tags=[[1], [2]] * 30, churned=[True, False, False] * 20),
    ),
    Start(
        "a target of lists",
        "but it is List(Int64)",
        parquet("a.parquet", age=[1, 2] * 30, churned=[[1], [2]] * 30),
    ),
    Start(
        "Parquet files that differ",
        "with the same columns in each file, but",
        folder_of(_parts("age", "years")),
    ),
    Start(
        "a broken file among good ones",
        "1.parquet' must be complete Parquet",
        folder_of(_broken_part),
    ),
    Start(
        "gzip cut off",
        "damaged: Compressed file ended",
        changed("a.csv.gz", lambda x, _: zipped(x)[:-60]),
    ),
    Start(
        "gzip damaged",
        "what is compressed in it is damaged: Error -3",
        changed("a.csv.gz", lambda x, luck: _flipped(zipped(x), luck)),
    ),
    Start(
        "zstd damaged",
        "what is compressed in it is damaged: ZSTD",
        changed("a.csv.zst", lambda x, luck: _flipped(_zstd(x), luck)),
    ),
    Start(
        "bzip2",
        "it is compressed by bzip2",
        changed("a.csv", lambda x, _: bz2.compress("\n".join(x).encode())),
    ),
    Start(
        "NDJSON broken at a line",
        "but line 8 is not",
        changed("a.ndjson", lambda x, _: ndjson(x, 7, '{"age": 1,')),
    ),
    Start(
        "NDJSON with a number",
        "but line 5 is '17'",
        changed("a.ndjson", lambda x, _: ndjson(x, 4, "17")),
    ),
    Start(
        "an array named .ndjson",
        "it is a JSON array. Write each",
        as_file("a.ndjson", '[{"age": 1}]\n'),
    ),
    Start(
        "an empty NDJSON file",
        "must have a JSON object in each line, but it is empty",
        as_file("a.ndjson", "\n"),
    ),
    Start("a .json file", "let its name end in .ndjson", as_file("a.json", "[]")),
    Start(
        "a JSON array named .csv",
        "it is a JSON array: write one object a line",
        as_file("a.csv", '[{"a": 1}, {"a": 2}]'),
    ),
    Start("a workbook", "Open it and save the sheet as CSV", as_file("a.xlsx", _zipped(_SHEET))),
    Start("a workbook named .csv", "it is an Excel workbook", as_file("a.csv", _zipped(_SHEET))),
    Start(
        "an old workbook named .csv",
        "an old Excel workbook",
        as_file("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    ),
    Start("an archive named .csv", "it is a ZIP archive", as_file("a.csv", _zipped("may.csv"))),
    Start("a PDF named .csv", "it is a PDF document", as_file("a.csv", b"%PDF-1.7\n%\xe2\xe3")),
    Start(
        "a web page named .csv",
        "it is an HTML page",
        as_file("a.csv", "<!DOCTYPE html>\n<html><body>Log in"),
    ),
    Start("XML named .csv", "it is XML", as_file("a.csv", '<?xml version="1.0"?>\n<a/>')),
    Start("a picture named .csv", "it is a PNG picture", as_file("a.csv", _PNG)),
    Start(
        "a pickle named .csv", "it is a Python pickle", as_file("a.csv", pickle.dumps([1] * 999, 4))
    ),
    Start(
        "a database named .csv",
        "it is an SQLite database",
        as_file("a.csv", b"SQLite format 3\0" + b"\0" * 99),
    ),
    Start(
        "an unknown kind of address",
        "URL of a database that SQLAlchemy knows here",
        plain("--data", "ftp://host/a.csv"),
    ),
    Start(
        "a database without its driver",
        "'oracledb' must be installed",
        plain("--data", "oracle+oracledb://shop/x", "--table", "t"),
    ),
    Start(
        "a URL that is none",
        "must be a URL as sqlite:///shop.db",
        plain("--data", "://shop", "--table", "t"),
    ),
    Start(
        "a misspelt table",
        "--table must be a table of the database, but got 'customer'. Did you mean 'customers'?",
        database("--table", "customer"),
    ),
    Start(
        "a query that is wrong",
        'near "SELEC": syntax error',
        database("--query", "SELEC * FROM customers"),
    ),
    Start("a table without rows", "nobody of sqlite:///", database("--table", "nobody")),
    Start(
        "neither table nor query",
        "either --table or --query must be given, but got none",
        database(),
    ),
    Start(
        "table and query",
        "must be given, but got both",
        database("--table", "a", "--query", "SELECT 1"),
    ),
    Start(
        "a database that is not there",
        "--data must name a database file that exists",
        database("--table", "a", url="sqlite:///{folder}/shop2.db"),
    ),
    Start(
        "a file that is no database",
        "file is not a database",
        lambda f, luck: [
            "--data",
            f"sqlite:///{plain('--data', 'FOLDER/customers.csv')(f, luck)[1]}",
            "--target",
            TARGET,
            "--table",
            "a",
        ],
    ),
    Start(
        "a table of a file",
        "--table and --query must go with a database",
        plain("--data", "FOLDER/customers.csv", "--table", "a"),
    ),
    Start(
        "a password in the URL",
        "must hold no password or token",
        plain("--data", "postgresql://me:hush@host/x", "--table", "a"),
    ),
    Start(
        "a variable that is not set",
        "'NO_SUCH_SHOP' is not",
        plain("--data", "sqlite:///$NO_SUCH_SHOP", "--table", "a"),
    ),
    Start(
        "a server that does not answer",
        "must be reachable and send the whole body",
        plain("--data", "http://127.0.0.1:9/a.csv"),
    ),
)
"""What must be refused, each in its own words."""
