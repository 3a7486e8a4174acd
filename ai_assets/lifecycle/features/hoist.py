"""Which parts of a feature query depend on history alone, and can be computed once."""

from dataclasses import dataclass
from functools import lru_cache

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.features.lookups import REQUEST, LookupQuery, take_lookups
from ai_assets.lifecycle.features.passed_query import passed_columns


@dataclass(frozen=True)
class Plan:
    """A query in two parts.

    Attributes:
        names: the common table expressions that become tables, in order.
        statements: what makes those tables, in order.
        rest: the query over `request` that is left.
        quick: the same with its lookups taken out, where it has some.
        passed: columns of the request and their names in the result, where it does nothing else.
    """

    names: tuple[str, ...]
    statements: tuple[str, ...]
    rest: str
    quick: LookupQuery | None = None
    passed: tuple[tuple[str, str], ...] = ()


@lru_cache(maxsize=32)
def hoist(sql: str) -> Plan:
    """Split a query: CTEs that do not reach `request`, however indirectly, become tables."""
    import sqlglot
    from sqlglot import exp

    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
    except sqlglot.errors.ParseError as error:
        raise DeclarationError(f"the feature query cannot be read: {error}") from error
    live = {REQUEST}
    with_ = tree.args.get("with_") or tree.args.get("with")
    if with_ is None:
        return Plan((), (), sql, take_lookups(tree, live), passed_columns(tree))
    if with_.args.get("recursive"):
        return Plan((), (), sql)
    names, statements = [], []
    for cte in list(with_.expressions):
        used = {table.name.lower() for table in cte.this.find_all(exp.Table)}
        if used & live:
            live.add(cte.alias.lower())
            continue
        columns = _declared_columns(cte)
        body = cte.this.sql(dialect="duckdb", comments=False)
        names.append(cte.alias)
        statements.append(f'CREATE OR REPLACE TEMP TABLE "{cte.alias}"{columns} AS {body}')
        cte.pop()
    if not with_.expressions:
        with_.pop()
    rest = tree.sql(dialect="duckdb", comments=False)
    return Plan(tuple(names), tuple(statements), rest, take_lookups(tree, live))


def _declared_columns(cte: "object") -> str:
    alias = cte.args["alias"]  # type: ignore[attr-defined]
    columns = [column.sql(dialect="duckdb", comments=False) for column in alias.columns]
    return f" ({', '.join(columns)})" if columns else ""
