"""Which tables a feature query reads: the rows of others need not be loaded."""

from collections.abc import Iterable

_BY_TEXT = {"query", "query_table"}
"""Functions of DuckDB that take a table's name, or a whole query, as a text."""


def tables_read(sql: str, names: Iterable[str]) -> frozenset[str]:
    """Those of the tables whose rows the query can reach.

    A table counts as read wherever its name stands but in comments, be it the name of something
    else. A query that is no SQL, or that hands names of tables on as texts, reads all.

    Args:
        sql: the query.
        names: of the tables.
    """
    import sqlglot

    known = {name: name.casefold() for name in names}
    try:
        words = {token.text.casefold() for token in sqlglot.tokenize(sql, read="duckdb")}
    except sqlglot.errors.SqlglotError:
        return frozenset(known)
    if words & _BY_TEXT:
        return frozenset(known)
    return frozenset(name for name, folded in known.items() if folded in words)
