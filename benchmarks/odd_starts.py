"""Files that are odd and can be read: with care, and said where it is not as usual."""

import gzip
from collections.abc import Callable
from pathlib import Path
from random import Random

from starts import (
    Arguments,
    Start,
    changed,
    database,
    ndjson,
    replaced,
    rows_of,
    zipped,
)


def _encoded(encoding: str, person: str = "Zoë") -> Callable[[Path, Random], Arguments]:
    def change(lines: list[str], luck: Random) -> bytes:
        return ("\n".join(rows_of(luck, person=person)) + "\n").encode(encoding)

    return changed("a.csv", change)


def _split_by(delimiter: str) -> Callable[[Path, Random], Arguments]:
    return changed("a.csv", lambda x, _: [line.replace(",", delimiter) for line in x])


READ: tuple[Start, ...] = (
    Start("Latin-1", "its text is cp1252, not UTF-8", _encoded("latin-1")),
    Start("UTF-16", "its text is utf-16, not UTF-8", _encoded("utf-16")),
    Start("UTF-16 without a mark", "its text is utf-16-be, not UTF-8", _encoded("utf-16-be")),
    Start("UTF-32", "its text is utf-32, not UTF-8", _encoded("utf-32")),
    Start("a byte order mark", "number: {type: string", _encoded("utf-8-sig")),
    Start("semicolons", "its fields are split by semicolon", _split_by(";")),
    Start("tabs", "its fields are split by tab", _split_by("\t")),
    Start("vertical bars", "its fields are split by vertical bar", _split_by("|")),
    Start(
        "blank lines",
        "3 blank lines are left out",
        changed("a.csv", lambda x, _: [x[0], "", *x[1:9], "", "", *x[9:]]),
    ),
    Start(
        "blank lines above", "number: {type: string", changed("a.csv", lambda x, _: ["", "", *x])
    ),
    Start(
        "line ends of Windows",
        "churned: {type: string",
        changed("a.csv", lambda x, _: "\r\n".join(x)),
    ),
    Start(
        "a line feed in a text",
        "plan: {type: string, allowed: [basic, plus]",
        changed("a.csv", replaced(4, 'C1,"An\nn",33,plus,no')),
    ),
    Start(
        "row numbers without a name",
        "the row's number",
        changed(
            "a.csv", lambda x, _: ["," + x[0], *(f"{i},{line}" for i, line in enumerate(x[1:]))]
        ),
    ),
    Start("gzip", ".csv.gz", changed("a.csv.gz", lambda x, _: zipped(x))),
    Start(
        "gzip in Latin-1",
        "encoding: cp1252",
        changed(
            "a.csv.gz",
            lambda x, luck: gzip.compress("\n".join(rows_of(luck, person="Zoë")).encode("cp1252")),
        ),
    ),
    Start("gzip with another name", "a.csv", changed("a.csv", lambda x, _: zipped(x))),
    Start("NDJSON", "ndjson: ", changed("a.ndjson", lambda x, _: ndjson(x))),
    Start("NDJSON by gzip", "a.jsonl.gz", changed("a.jsonl.gz", lambda x, _: zipped(ndjson(x)))),
    Start("a table of a database", "table: customers", database("--table", "customers")),
    Start("a query", "query: ", database("--query", "SELECT age, churned FROM customers")),
)
"""What is odd and must be read: with care, and said where it is not as usual."""
