"""CSV files that nothing can be scaffolded from, each with words that its message must have."""

from collections.abc import Callable
from random import Random

from starts import (
    Start,
    as_file,
    changed,
    replaced,
    rows_of,
)


def _of_target(change: Callable[[int, Random], str]) -> Callable:
    """Lines whose last field is another."""

    def made(lines: list[str], luck: Random) -> list[str]:
        told = [line.rpartition(",")[0] for line in lines[1:]]
        return [lines[0], *(f"{line},{change(i, luck)}" for i, line in enumerate(told))]

    return made


def _header(names: str) -> Callable[[list[str], Random], list[str]]:
    return replaced(0, names)


def _far_down(line: str) -> Callable[[list[str], Random], list[str]]:
    return lambda lines, luck: [*rows_of(luck, 30_000), line, *lines[1:]]


def _mixed(lines: list[str], luck: Random) -> bytes:
    first = "\n".join(line.replace("Ann", "Zoë") for line in lines).encode()
    return first + "\nC9,Zoë,44,plus,no\n".encode("cp1252")


TEXTS: tuple[Start, ...] = (
    Start(
        "an empty file", "must have a header line and rows, but it is empty", as_file("a.csv", "")
    ),
    Start("blank lines only", "it holds blank lines only", as_file("a.csv", "\n\n  \n")),
    Start("a header only", "must have rows below its header", changed("a.csv", lambda x, _: x[:1])),
    Start(
        "UTF-16 cut off",
        "none of utf-8, utf-16",
        changed("a.csv", lambda x, _: "\n".join(x).encode("utf-16")[:-1]),
    ),
    Start(
        "two encodings", "must be in one encoding, but line 2 is UTF-8", changed("a.csv", _mixed)
    ),
    Start("a null byte", "holds byte 0x00", changed("a.csv", replaced(40, "C1,A\0,33,plus,no"))),
    Start(
        "random bytes",
        "bytes that no text has",
        changed("a.csv", lambda x, luck: b"a," + luck.randbytes(5000)),
    ),
    Start(
        "one field too many",
        "but line 31 has 6",
        changed("a.csv", replaced(30, "C1,Ann,33,plus,no,no")),
    ),
    Start("two fields too few", "but line 21 has 3", changed("a.csv", replaced(20, "C1,Ann,33"))),
    Start(
        "a ragged line far down",
        "but line 30002 has 7",
        changed("a.csv", _far_down("1,2,3,4,5,6,7")),
    ),
    Start(
        "another delimiter",
        "split by one of comma, semicolon, tab, vertical bar",
        changed("a.csv", lambda x, _: [line.replace(",", "^") for line in x]),
    ),
    Start("one column", "but it is 'churned'", as_file("a.csv", "churned\nyes\nno\n")),
    Start(
        "an unclosed quote",
        "one that opens in line 12 is not",
        changed("a.csv", replaced(11, 'C1,"Ann,33,plus,no')),
    ),
    Start(
        "an unclosed quote far down",
        "one that opens in line 30002 is not",
        changed("a.csv", _far_down('C1,"Ann,33,plus,no')),
    ),
    Start(
        "text behind a quote",
        "in line 16 text follows it",
        changed("a.csv", replaced(15, 'C1,"Ann"a,33,plus,no')),
    ),
    Start(
        "line ends of old Macs",
        "a carriage return alone",
        changed("a.csv", lambda x, _: "\r".join(x)),
    ),
    Start(
        "a note to Excel",
        "it is 'sep=,', a note to Excel",
        changed("a.csv", lambda x, _: ["sep=,", *x]),
    ),
    Start(
        "a misspelt target",
        "Did you mean 'churned'?",
        changed("a.csv", lambda x, _: x, target="churn"),
    ),
    Start(
        "an empty target",
        "but got ''. There are 'number'",
        changed("a.csv", lambda x, _: x, target=""),
    ),
    Start(
        "a target without values",
        "but all of them are missing",
        changed("a.csv", _of_target(lambda i, luck: luck.choice(["", "NA"]))),
    ),
    Start("one class", "have one say 'no'", changed("a.csv", _of_target(lambda i, _: "no"))),
    Start(
        "a target of moments",
        "is a moment",
        changed("a.csv", _of_target(lambda i, _: f"2024-03-{i % 28 + 1:02d}")),
    ),
    Start(
        "a target that names rows",
        "Is it an identifier?",
        changed("a.csv", _of_target(lambda i, luck: f"T{i}{luck.random()}")),
    ),
    Start(
        "a name twice",
        "'age' is there twice (columns 2 and 3)",
        changed("a.csv", _header("number,age,age,plan,churned")),
    ),
    Start(
        "names that differ in case",
        "beside 'Age', which SQL takes for the same",
        changed("a.csv", _header("number,Age,age,plan,churned")),
    ),
    Start(
        "a column without a name",
        "but number 3 of 5 has none",
        changed("a.csv", _header("number,who,,plan,churned")),
    ),
    Start(
        "no header", "but it holds numbers: 4, 1.5, 0", as_file("a.csv", "4,1.5,0\n5,2.5,1\n" * 50)
    ),
    Start(
        "a reserved name",
        "must not be named _row_id",
        changed("a.csv", _header("_row_id,who,age,plan,churned")),
    ),
    Start(
        "nothing to learn from",
        "has none: who: always Ann",
        as_file("a.csv", "who,churned\n" + "Ann,yes\nAnn,no\n" * 50),
    ),
    Start(
        "a key that is no column",
        "--key must name columns of",
        changed("a.csv", lambda x, _: x, "--key", "nummer"),
    ),
    Start(
        "a time that is no moment",
        "'age' is int64",
        changed("a.csv", lambda x, _: x, "--time", "age"),
    ),
)
"""What must be refused of text files and their columns, each in its own words."""
