"""Which columns of which tables each feature is made of, read from the SQL."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from ai_assets.lifecycle.errors import DeclarationError

ROW_ID = "_row_id"
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
Origin = tuple[str, str]


def column_lineage(sql: str, schemas: Mapping[str, list[str]]) -> dict[str, list[Origin]]:
    """For each feature the (table, column) pairs that it depends on, sorted.

    Sees through CTEs, subqueries, windows and joins. A column that decides which row is joined,
    kept or grouped counts for every feature that is taken from there.

    Raises:
        DeclarationError: the SQL cannot be read, or names a column that no table has.
    """
    traced = _traced(sql, _hashable(schemas))
    return {name: list(origins) for name, origins in traced.lineage.items()}


def carried_columns(sql: str, schemas: Mapping[str, list[str]]) -> dict[str, Origin]:
    """The features that are a column of a table as it is, with that column.

    Raises:
        DeclarationError: as `column_lineage`.
    """
    return dict(_traced(sql, _hashable(schemas)).carried)


@dataclass(frozen=True)
class _Traced:
    lineage: dict[str, list[Origin]]
    carried: dict[str, Origin]


_Schemas = tuple[tuple[str, tuple[str, ...]], ...]


def _hashable(schemas: Mapping[str, list[str]]) -> _Schemas:
    return tuple((name, tuple(there)) for name, there in schemas.items())


@lru_cache(maxsize=32)
def _traced(sql: str, schemas: _Schemas) -> _Traced:
    """The same for each partition of a run, and much slower than a look at a cache."""
    import sqlglot
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope
    from sqlglot.schema import MappingSchema

    # In the case of the trace already: sqlglot would read the names as SQL, and 'x' as a text.
    nested: dict[str, object] = {
        _lower(name): {_lower(column): "unknown" for column in columns} for name, columns in schemas
    }
    known = MappingSchema(nested, dialect="duckdb", normalize=False)
    try:
        written = sqlglot.parse_one(sql, dialect="duckdb")
        tree = qualify(
            written.copy(), dialect="duckdb", schema=known, validate_qualify_columns=False
        )
    except sqlglot.errors.SqlglotError as error:
        raise DeclarationError(f"the feature query cannot be traced: {error}") from error
    scope = build_scope(tree)
    if scope is None:
        raise DeclarationError("the feature query must be a SELECT, but has no columns to trace.")
    declared = {(_lower(t), _lower(c)): (t, c) for t, there in schemas for c in there}
    names = _names(written, schemas)
    return _Traced(
        {
            names.get(name, name): sorted({declared[o] for o in found if o in declared})
            for name, found in _trace(scope, {}).items()
            if name != ROW_ID
        },
        {
            names.get(name, name): declared[origin]
            for name, origin in _carried(scope, {}).items()
            if name != ROW_ID and origin in declared
        },
    )


def _names(tree: Any, schemas: _Schemas) -> dict[str, str]:
    """The names of columns as they are declared or written, by what the trace calls them.

    To DuckDB the case of A to Z makes no difference, so the trace has these in lower case.
    """
    from sqlglot import exp

    given: dict[str, str] = {}
    for alias in tree.find_all(exp.Alias):  # the outermost comes first
        given.setdefault(_lower(alias.alias), alias.alias)
    return {_lower(column): column for _, there in schemas for column in there} | given


def _lower(name: str) -> str:
    return name.translate(_LOWER)


def _carried(scope: Any, done: dict[int, dict[str, Origin]]) -> dict[str, Origin]:
    """The columns that a scope gives as they are, with the column of a table that each is."""
    from sqlglot import exp

    if id(scope) in done or isinstance(scope.expression, exp.SetOperation):
        return done.get(id(scope), {})
    found = done[id(scope)] = {}
    for selected in scope.expression.selects:
        column = selected.unalias()
        source = scope.sources.get(column.table) if isinstance(column, exp.Column) else None
        if isinstance(source, exp.Table):
            found[selected.alias_or_name] = source.name, column.name
        elif source is not None and (origin := _carried(source, done).get(column.name)):
            found[selected.alias_or_name] = origin
    return found


def late_features(
    lineage: Mapping[str, Iterable[Origin]], late_columns: Iterable[str], table: str = "request"
) -> dict[str, list[str]]:
    """The features that reach a late column of `request`, with the columns that they reach."""
    late = set(late_columns) | {f"{name}_known_at" for name in late_columns}
    reached = {
        feature: sorted({column for source, column in origins if source == table} & late)
        for feature, origins in lineage.items()
    }
    return {feature: columns for feature, columns in reached.items() if columns}


def _trace(scope: Any, done: dict[int, dict[str, set[Origin]]]) -> dict[str, set[Origin]]:
    """The origins of each column that a scope gives."""
    from sqlglot import exp

    if id(scope) in done:
        return done[id(scope)]
    if isinstance(scope.expression, exp.SetOperation):
        found = _trace_union(scope, done)
    else:
        rows = _row_origins(scope, done)
        found = {}
        for selected in scope.expression.selects:
            if isinstance(selected, exp.Star) or selected.is_star:
                found.update(_star(scope, done, rows))
                continue
            name = selected.alias_or_name
            found[name] = _origins(selected, scope, done)
            found[name] |= rows.get("", set()) | _joined(selected, rows)
    done[id(scope)] = found
    return found


def _trace_union(scope: Any, done: dict[int, dict[str, set[Origin]]]) -> dict[str, set[Origin]]:
    """The branches of a set operation meet by position."""
    first, second = (_trace(branch, done) for branch in scope.set_operation_scopes)
    pairs = zip(first.items(), second.values(), strict=False)
    return {name: left | right for (name, left), right in pairs}


def _row_origins(scope: Any, done: dict[int, dict[str, set[Origin]]]) -> dict[str, set[Origin]]:
    """What decides which rows there are: under "" for all columns, else by the joined table."""
    select = scope.expression
    for_all: set[Origin] = set()
    for part in ("where", "group", "having", "qualify", "limit", "distinct"):
        if clause := select.args.get(part):
            for_all |= _origins(clause, scope, done)
    found = {"": for_all}
    for join in select.args.get("joins") or []:
        deciding = _origins_of_join(join, scope, done)
        found.setdefault(join.alias_or_name, set()).update(deciding)
        if join.side != "LEFT":
            for_all |= deciding
    return found


def _origins_of_join(join: Any, scope: Any, done: dict[int, dict[str, set[Origin]]]) -> set[Origin]:
    condition = join.args.get("on")
    found = _origins(condition, scope, done) if condition is not None else set()
    for column in join.args.get("using") or []:
        for name in scope.sources:
            found |= _source_column(scope, name, column.name, done)
    return found


def _joined(selected: Any, rows: dict[str, set[Origin]]) -> set[Origin]:
    from sqlglot import exp

    tables = {column.table for column in selected.find_all(exp.Column)}
    return set().union(*(rows.get(table, set()) for table in tables if table))


def _origins(node: Any, scope: Any, done: dict[int, dict[str, set[Origin]]]) -> set[Origin]:
    """The origins of every column under a node, subqueries included."""
    from sqlglot import exp

    found: set[Origin] = set()
    for column in node.find_all(exp.Column):
        if column.table:
            found |= _source_column(scope, column.table, column.name, done)
        else:
            for name in scope.sources:
                found |= _source_column(scope, name, column.name, done)
    for inner in scope.subquery_scopes:
        if inner.expression in node.walk():
            found |= set().union(*_trace(inner, done).values())
    for window in node.find_all(exp.Window):
        named = window.args.get("alias")
        for definition in scope.expression.args.get("windows") or []:
            if named is not None and definition.this == named:
                found |= _origins(definition, scope, done)
    return found


def _source_column(
    scope: Any, table: str, column: str, done: dict[int, dict[str, set[Origin]]]
) -> set[Origin]:
    from sqlglot import exp

    source = scope.sources.get(table)
    if source is None:
        return set()
    if isinstance(source, exp.Table):
        return {(source.name, column)}
    inner = _trace(source, done)
    return inner.get(column) or inner.get("*") or set()


def _star(
    scope: Any, done: dict[int, dict[str, set[Origin]]], rows: dict[str, set[Origin]]
) -> dict[str, set[Origin]]:
    """A star that could not be expanded: its columns may be any of the inner ones."""
    found: dict[str, set[Origin]] = {}
    for name in scope.sources:
        source = scope.sources[name]
        if hasattr(source, "expression"):
            for column, origins in _trace(source, done).items():
                found.setdefault(column, set()).update(origins | rows[""] | rows.get(name, set()))
    return found
