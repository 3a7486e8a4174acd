"""Ways to start with one's own data: each writes its file from a seed and runs the scaffolder."""

import gzip
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl

TARGET = "churned"
_NOBODY = 65534
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_SHEET = "xl/worksheets/sheet1.xml"
Arguments = list[str]


@dataclass(frozen=True)
class Start:
    """A way to start, and what must be said of it.

    Attributes:
        name: for people.
        says: words of its message, or of its declaration where it can be read.
        write: puts the file into a folder; gives the arguments of the command.
        as_nobody: whether it must be tried as a user without rights.
    """

    name: str
    says: str
    write: Callable[[Path, Random], Arguments]
    as_nobody: bool = False


@dataclass(frozen=True)
class Told:
    """What a start led to: the exit code, what was said, and what was raised if anything was."""

    code: int
    words: str
    raised: str


def try_start(start: Start, folder: Path, seed: int) -> Told:
    """Write the file of a start and run the command on it, in this process."""
    from ai_assets.scaffold import main

    folder.mkdir(parents=True)
    arguments = start.write(folder, Random(f"{seed} {start.name}"))
    name, *rest = arguments if not arguments[0].startswith("--") else ["churn", *arguments]
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said), _user(nobody=start.as_nobody):
            code = main([name, *rest, "--products", str(folder / "products")])
    except (Exception, SystemExit) as error:
        return Told(2, said.getvalue(), f"{type(error).__name__}: {error}")
    return Told(code, said.getvalue(), "")


@contextmanager
def _user(*, nobody: bool) -> Iterator[None]:
    """Root may read whatever it likes: become nobody for a while."""
    if not nobody or os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def rows_of(luck: Random, rows: int = 0, delimiter: str = ",", person: str = "Ann") -> list[str]:
    """Lines of a table of customers, with a header."""
    lines = [delimiter.join(["number", "who", "age", "plan", TARGET])]
    for number in range(rows or luck.randrange(90, 200)):
        fields = [f"C{7 * number}", f"{person}{number}", str(luck.randrange(18, 90))]
        fields += [luck.choice(["basic", "plus"]), luck.choice(["yes", "no"])]
        lines.append(delimiter.join(fields))
    return lines


def table(luck: Random, rows: int = 120) -> pl.DataFrame:
    """Customers with types."""
    answers = [i % 3 == 0 for i in range(rows)]
    ages = [luck.randrange(18, 90) for _ in range(rows)]
    return pl.DataFrame({"number": range(rows), "age": ages, TARGET: answers})


def as_file(name: str, content: bytes | str, *more: str, target: str = TARGET) -> Callable:
    """A start with a file of this content."""
    data = content.encode() if isinstance(content, str) else content
    return changed(name, lambda lines, luck: data, *more, target=target)


def changed(
    name: str,
    change: Callable[[list[str], Random], bytes | str | list[str]],
    *more: str,
    target: str = TARGET,
) -> Callable[[Path, Random], Arguments]:
    """A start with a file made of the lines of a good one."""

    def write(folder: Path, luck: Random) -> Arguments:
        content = change(rows_of(luck), luck)
        if isinstance(content, list):
            content = "\n".join(content) + "\n"
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return ["--data", str(folder / name), "--target", target, *more]

    return write


def parquet(
    name: str,
    change: Callable[[bytes, Random], bytes] = lambda content, luck: content,
    **more: list,
) -> Callable[[Path, Random], Arguments]:
    """A start with a Parquet file whose bytes are changed."""

    def write(folder: Path, luck: Random) -> Arguments:
        frame = pl.DataFrame(more) if more else table(luck)
        held = io.BytesIO()
        frame.write_parquet(held)
        (folder / name).write_bytes(change(held.getvalue(), luck))
        return ["--data", str(folder / name), "--target", TARGET]

    return write


def folder_of(*writers: Callable[[Path, Random], None]) -> Callable[[Path, Random], Arguments]:
    """A start with a folder that others fill."""

    def write(folder: Path, luck: Random) -> Arguments:
        (folder / "data").mkdir()
        for writer in writers:
            writer(folder / "data", luck)
        return ["--data", str(folder / "data"), "--target", TARGET]

    return write


def database(*asked: str, url: str = "sqlite:///{folder}/shop.db") -> Callable:
    """A start with an SQLite database of customers."""

    def write(folder: Path, luck: Random) -> Arguments:
        with sqlite3.connect(folder / "shop.db") as connection:
            connection.execute(f"CREATE TABLE customers (number, age, {TARGET})")
            connection.execute("CREATE TABLE nobody AS SELECT * FROM customers")
            rows = table(luck).rows()
            connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", rows)
        connection.close()
        return ["--data", url.format(folder=folder), "--target", TARGET, *asked]

    return write


def plain(*arguments: str, target: str = TARGET) -> Callable[[Path, Random], Arguments]:
    """A start with nothing written; {folder} is its folder."""

    def write(folder: Path, luck: Random) -> Arguments:
        (folder / "customers.csv").write_text("\n".join(rows_of(luck)), encoding="utf-8")
        filled = [argument.replace("FOLDER", str(folder)) for argument in arguments]
        return [*filled, "--target", target]

    return write


def zipped(lines: list[str]) -> bytes:
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def replaced(at: int, line: str) -> Callable[[list[str], Random], list[str]]:
    """Lines with one of them another."""
    return lambda lines, luck: [*lines[:at], line, *lines[at + 1 :]]


def ndjson(lines: list[str], at: int = -1, line: str = "") -> list[str]:
    told = [f'{{"age": {i * 7 % 50}, "{TARGET}": {str(i % 3 == 0).lower()}}}' for i in range(90)]
    return [*told[:at], line, *told[at:]] if at >= 0 else told
