"""Names and values of a file as SQL: in quotes where DuckDB, or what reads its SQL, needs them."""

import re
from functools import lru_cache
from typing import Any

from ai_assets.lifecycle.schema.label import word_of

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REQUEST = "request"  # what a feature query calls the rows that are asked about


def quoted(name: str) -> str:
    """A name in SQL, in quotes where it needs them."""
    if _PLAIN.fullmatch(name) and not _is_a_word(name.lower()):
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value in SQL."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return word_of(value)


def table_name(name: str) -> str:
    """A name for a table that needs no quotes, from that of a file, a folder or a query."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if plain and not plain[0].isalpha():
        return f"t_{plain}"
    if not plain or plain == _REQUEST or _is_a_word(plain):
        return f"{plain or 'data'}_rows"
    return plain


def _is_a_word(name: str) -> bool:
    """Whether SQL takes a name for its own where a column or table is named."""
    if name in _reserved():
        return True
    import sqlglot

    # Lineage is told by sqlglot, which takes some for functions that DuckDB does not.
    try:
        (read,) = sqlglot.parse_one(f"SELECT {name}", dialect="duckdb").expressions
    except sqlglot.errors.ParseError:
        return True
    return not isinstance(read, sqlglot.exp.Column)


@lru_cache(maxsize=1)
def _reserved() -> frozenset[str]:
    """The words that DuckDB keeps for itself in some places, as it tells them."""
    import duckdb

    with duckdb.connect() as connection:
        told = connection.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
        ).fetchall()
    return frozenset(name for (name,) in told)
