"""What DuckDB says against a feature query, told as a mistake of the declaration."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import DeclarationError, did_you_mean

if TYPE_CHECKING:
    import duckdb

_LINE = re.compile(r"^LINE (\d+):", re.MULTILINE)
_QUOTED = re.compile(r'"([^"]+)"')
_UNKNOWN_NAME = re.compile(
    r'(?:column named|[Cc]olumn|alias|name|Function with name) "?([^\s"]+)"?'
    r"(?: does not exist| not found|$|\s)"
)


def check_one_select(
    sql: str, file: str, connection: "duckdb.DuckDBPyConnection | None" = None
) -> None:
    """Raise a DeclarationError unless the text is exactly one SELECT (WITH allowed).

    Without a connection DuckDB opens one of its own, which costs more than the look.
    """
    import duckdb

    try:
        statements = (connection or duckdb).extract_statements(sql)
    except duckdb.Error as error:
        raise _declaration_error(error, sql, file, {}) from error
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if kinds != ["SELECT"]:
        given = ", ".join(kinds) or "nothing"
        raise DeclarationError(f"{file} must be one SELECT (WITH is allowed), but is {given}.")


@contextmanager
def explained(connection: "duckdb.DuckDBPyConnection", sql: str, file: str) -> Iterator[None]:
    """Turn a DuckDB error into a DeclarationError with file, line and the nearest name."""
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        raise _declaration_error(error, sql, file, _visible(connection)) from error


def _visible(connection: "duckdb.DuckDBPyConnection") -> dict[str, list[str]]:
    """The columns of each table."""
    rows = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    ).fetchall()
    found: dict[str, list[str]] = {}
    for table, column in rows:
        found.setdefault(table, []).append(column)
    return found


def _declaration_error(
    error: Exception, sql: str, file: str, tables: dict[str, list[str]]
) -> DeclarationError:
    said = str(error)
    unknown = _unknown_name(said)
    names = sorted({*tables, *(column for columns in tables.values() for column in columns)})
    if lacking := _column_of_alias(said, sql, tables):
        # Within a subquery DuckDB says that the table is not there when it is one of its columns.
        table, unknown = lacking
        said, names = f'Table "{table}" has no column "{unknown}".', tables[table]
    line = _line(said, sql, unknown)
    where = f"{file}, line {line}" if line else file
    words = said.split("\n\nLINE")[0].split("\n\tCandidate")[0].split("\nDid you mean")[0]
    words = words.split("\nCandidate bindings")[0].strip()
    near = did_you_mean(unknown, names) if unknown else ""
    return DeclarationError(f"{where}: {words}{near}")


def _column_of_alias(said: str, sql: str, tables: dict[str, list[str]]) -> tuple[str, str] | None:
    """A table and the column that it lacks, where DuckDB misses the table that the query names."""
    missed = re.search(r'Referenced table "([^"]+)" not found', said)
    if missed is None:
        return None
    alias = re.escape(missed[1])
    for table, columns in tables.items():
        named = rf'(?i)\b(?:FROM|JOIN)\s+"?{re.escape(table)}"?\s+(?:AS\s+)?"?{alias}"?(?!\w)'
        if not re.search(named, sql):
            continue
        known = {column.lower() for column in columns}
        for column in re.findall(rf'(?i)(?<!\w)"?{alias}"?\."?(\w+)', sql):
            if column.lower() not in known:
                return table, str(column)
    return None


def _unknown_name(said: str) -> str | None:
    first = said.split("\n")[0]
    for pattern in (
        r'does not have a column named "([^"]+)"',
        r'Referenced column "([^"]+)" not found',
        r'Referenced table "([^"]+)" not found',
        r"Table with name (\S+) does not exist",
        r"Function with name (\S+) does not exist",
    ):
        if match := re.search(pattern, first):
            return match[1].strip('"')
    return None


def _line(said: str, sql: str, unknown: str | None) -> int | None:
    if match := _LINE.search(said):
        return int(match[1])
    if unknown is None:
        return None
    word = re.compile(rf"\b{re.escape(unknown)}\b")
    for number, line in enumerate(sql.split("\n"), start=1):
        if word.search(line.partition("--")[0]):
            return number
    return None
