"""A feature query that gives the same whenever it is asked: it knows neither the clock nor chance.

What depends on them differs between training, a later look at the same rows, and the server. The
trials for leaks cannot tell: they ask twice within a moment.
"""

from ai_assets.lifecycle.errors import DeclarationError

# Functions that DuckDB does not call CONSISTENT (`duckdb_functions()`), where they give a value.
INCONSISTENT = frozenset({
    "current_connection_id", "current_database", "current_date", "current_query",
    "current_query_id", "current_schema", "current_schemas", "current_setting",
    "current_transaction_id", "currval", "gen_random_uuid", "get_current_time",
    "get_current_timestamp", "getvariable", "in_search_path", "nextval", "now", "random", "setseed",
    "setval", "today", "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7",
})  # fmt: skip
# It calls these consistent.
UNSTEADY = INCONSISTENT | {"current_localtime", "current_localtimestamp"}
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
    for at, token in enumerate(tokens, 1):
        quoted = token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)
        if _is_asked(words, at, quoted=quoted):
            raise DeclarationError(
                f"{file} must give the same whenever it is asked, but in line {token.line} it asks "
                f"{words[at]}, which gives something else each time: a model would be asked about "
                "other features than it learned from. A row's own time is a column of request; a "
                f'column of that name is written "{words[at]}".'
            )


def _is_asked(words: list[str], at: int, *, quoted: bool) -> bool:
    """Whether a word asks the clock, chance or the session; a quoted one does as a function only.

    Args:
        words: of the query, between two empty ones.
        at: the word's place.
        quoted: whether it stands in quotation marks.
    """
    name, before, after = words[at], words[at - 1], words[at + 1]
    if after == "(":
        one = name == "age" and not _has_comma(words, at + 1)
        return one or name in UNSTEADY | CLOCKS
    if quoted or before in (".", "as"):
        return False
    return name in CLOCKS or name == "tablesample" or (before, name) == ("using", "sample")


def _has_comma(words: list[str], bracket: int) -> bool:
    """Whether the bracket that opens there holds more than one argument."""
    depth = 0
    for word in words[bracket:]:
        depth += (word == "(") - (word == ")")
        if depth == 1 and word == ",":
            return True
        if depth == 0:
            break
    return False
