"""A feature query that gives the same whenever it is asked: it knows neither the clock nor chance.

What depends on them differs between training, a later look at the same rows, and the server. The
trials for leaks cannot tell: they ask twice within a moment.
"""

from ai_assets.lifecycle.errors import DeclarationError

# Functions that DuckDB does not call CONSISTENT (`duckdb_functions()`), where they give a value.
UNSTEADY = frozenset({
    "current_connection_id", "current_database", "current_date", "current_query",
    "current_query_id", "current_schema", "current_schemas", "current_setting",
    "current_transaction_id", "currval", "gen_random_uuid", "get_current_time",
    "get_current_timestamp", "getvariable", "in_search_path", "nextval", "now", "random", "setseed",
    "setval", "today", "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7",
})  # fmt: skip
# Keywords of SQL that need no brackets.
CLOCKS = frozenset({
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp",
})  # fmt: skip


def check_steady(sql: str, file: str) -> None:
    """Refuse a query that asks the clock, chance or the session.

    Raises:
        DeclarationError: it does; says what and in which line.
    """
    import sqlglot
    from sqlglot.tokens import TokenType

    try:
        tokens = sqlglot.tokenize(sql, read="duckdb")
    except sqlglot.errors.SqlglotError:
        return  # DuckDB says it better
    words = ["", *(token.text.casefold() for token in tokens), ""]
    for token, before, name, after in zip(tokens, words, words[1:], words[2:], strict=False):
        is_column = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER) or before == "."
        asked = name in CLOCKS or (name in UNSTEADY and after == "(")
        if asked and not is_column:
            raise DeclarationError(
                f"{file} must give the same whenever it is asked, but in line {token.line} it asks "
                f"{name}, which gives something else each time: a model would be asked about "
                "other features than it learned from. A row's own time is a column of request."
            )
