"""Which joins of a query are lookups: one row of a table for a key that the request gives.

A join is a lookup if it is a LEFT or ASOF LEFT join with a table that does not depend on the
request, on equalities between the table's columns and expressions of the row asked about. DuckDB
builds a hash table of the whole table for each request; an index built once answers the same.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp

REQUEST = "request"
# What the statements read: the rows asked about, and the same with what was found for each of them.
ROWS, FOUND_ROWS, FOUND = "_asked_rows", "_found_rows", "_found"
# DuckDB's functions that give several rows for one.
_SEVERAL = frozenset(("unnest", "generate_subscripts"))


@dataclass(frozen=True)
class Lookup:
    """One join that is a lookup.

    Attributes:
        table: what is looked up in.
        columns: its key. With `order`, the last of them is compared and not equal.
        keys: which of the query's keys each is compared with.
        order: how the last column of an ASOF join compares with its key: <, <=, > or >=.
        values: columns that expressions of the query use.
    """

    table: str
    columns: tuple[str, ...]
    keys: tuple[int, ...]
    order: str | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class Output:
    """One column of the result: computed by the query, or as it stands in a lookup's table."""

    name: str
    lookup: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class LookupQuery:
    """The query with its lookups taken out.

    Attributes:
        query: reads `_found_rows`: the rows asked about with `_found`, a struct of the places
            `at_<i>` and the values `v_<i>_<column>`. Gives the computed columns in order, then the
            place in each lookup's table.
        keys: reads `_asked_rows` and gives the keys alone, each once, as `key_<i>`, a row for each
            row asked about, in their order.
        lookups: the lookups that were taken out.
        outputs: the columns of the result.
        alike: the result has a row for each row asked about, in their order; then `query` does not
            give the places.
    """

    query: str
    keys: str
    lookups: tuple[Lookup, ...]
    outputs: tuple[Output, ...]
    alike: bool

    @classmethod
    def from_dict(cls, read: Mapping[str, Any]) -> "LookupQuery":
        """Read what `dataclasses.asdict` and JSON wrote."""
        lookups = [
            Lookup(
                one["table"],
                tuple(one["columns"]),
                tuple(one["keys"]),
                one["order"],
                tuple(one["values"]),
            )
            for one in read["lookups"]
        ]
        outputs = tuple(Output(**one) for one in read["outputs"])
        return cls(read["query"], read["keys"], tuple(lookups), outputs, read["alike"])


def take_lookups(tree: "exp.Expr", live: Collection[str]) -> LookupQuery | None:
    """Take the lookups out of a query. None where there are none, or it is not certain.

    Args:
        tree: the query; it stays as it is.
        live: names, in lower case, of what depends on the request.
    """
    from sqlglot import exp

    select = tree.copy()
    if not isinstance(select, exp.Select) or not _is_plain(select):
        return None
    base, joins = select.args["from_"].this.alias_or_name, select.args["joins"]
    parts = [(join, _as_lookup(join, base, live)) for join in joins]
    taken = [(join.alias_or_name.lower(), found) for join, found in parts if found]
    names = {name: i for i, (name, _) in enumerate(taken)}
    chain = _chain(select)
    if not taken or chain is None:
        return None
    outputs, computed = _outputs(select, names)
    if len({output.name.lower() for output in outputs}) < len(outputs):
        return None
    select.set("joins", [join for join, found in parts if not found])
    select.set("expressions", computed)
    values = _point_to_found(select, base, names)
    keys = list(dict.fromkeys(key for _, found in taken for key in found["keys"]))
    lookups = tuple(
        Lookup(
            found["table"],
            found["columns"],
            tuple(keys.index(key) for key in found["keys"]),
            found["order"],
            tuple(sorted(values[i])),
        )
        for i, (_, found) in enumerate(taken)
    )
    asked = _keys_query(select, keys)
    alike = not select.args["joins"] and not select.args.get("where")
    if not alike:
        _add_places(select, base, len(lookups))
    _hand_on(chain)
    texts = (_text(_reading(FOUND_ROWS, select)), _text(_reading(ROWS, asked)))
    return LookupQuery(*texts, lookups, outputs, alike)


def _is_plain(select: "exp.Select") -> bool:
    """Whether the query only joins and computes, and says of every column whose it is."""
    from sqlglot import exp

    allowed = {"kind", "expressions", "from_", "joins", "with_", "where"}
    if any(value for name, value in select.args.items() if name not in allowed):
        return False
    joins = select.args.get("joins") or []
    if not select.args.get("from_") or not joins:
        return False
    if any(t.name.lower() == REQUEST and t.args.get("db") for t in select.find_all(exp.Table)):
        return False
    if any(cte.alias.lower() == REQUEST for cte in select.find_all(exp.CTE)):
        return False
    if any((j.side or j.kind or "INNER") not in ("LEFT", "INNER", "CROSS") for j in joins):
        return False
    parts = [*select.expressions, *(j.args["on"] for j in joins if j.args.get("on"))]
    parts += [select.args["where"]] if select.args.get("where") else []
    nodes = [node for part in parts for node in part.walk()]
    aliases = [source.alias_or_name.lower() for source in (select.args["from_"].this, *joins)]
    if len(set(aliases)) < len(aliases) or not all(aliases):
        return False
    return not any(
        isinstance(node, exp.Star | exp.Query | exp.AggFunc | exp.Window)
        or (isinstance(node, exp.Column) and not _is_of_one(node, aliases))
        for node in nodes
    )


def _is_of_one(column: "exp.Column", aliases: Collection[str]) -> bool:
    """Whether the column says which table it is of."""
    return not column.args.get("db") and column.table.lower() in aliases


def _chain(select: "exp.Select") -> list["exp.Select"] | None:
    """The CTEs between `request` and what the query selects from, the last one first.

    None unless each of them gives one row for a row, in order: so the rows that the keys are of are
    those that the query computes with, and DuckDB may compute them twice.
    """
    from sqlglot import exp

    with_ = select.args.get("with_")
    ctes = list(with_.expressions) if with_ else []
    chain: list[exp.Select] = []
    source = select.args["from_"].this
    while True:
        if not isinstance(source, exp.Table) or not isinstance(source.this, exp.Identifier):
            return None
        if any(value for name, value in source.args.items() if name not in ("this", "alias")):
            return None
        if source.name.lower() == REQUEST:
            return chain
        names = [cte.alias.lower() for cte in ctes]
        if source.name.lower() not in names:
            return None
        at = names.index(source.name.lower())
        cte, ctes = ctes[at], ctes[:at]
        if cte.args["alias"].columns or not _is_row_by_row(cte.this):
            return None
        chain.append(cte.this)
        source = cte.this.args["from_"].this


def _is_row_by_row(query: "exp.Expr") -> bool:
    """Whether a query is a SELECT that computes a row from each row, and nothing else."""
    from sqlglot import exp

    if not isinstance(query, exp.Select) or not query.args.get("from_"):
        return False
    if any(value for name, value in query.args.items() if name not in ("expressions", "from_")):
        return False
    nodes = [node for item in query.expressions for node in item.walk()]
    # What else aggregates cannot be bound beside the column that is handed on.
    return not any(
        isinstance(node, exp.Query | exp.AggFunc | exp.Window | exp.UDTF)
        or (isinstance(node, exp.Anonymous) and node.name.lower() in _SEVERAL)
        for node in nodes
    )


def _as_lookup(join: "exp.Join", base: str, live: Collection[str]) -> dict[str, Any] | None:
    """The parts of a `Lookup`, if the join is one."""
    from sqlglot import exp

    table, asof = join.this, join.method == "ASOF"
    plain = {"this", "side", "on"} | ({"method"} if asof else set())
    if (
        not isinstance(table, exp.Table)
        or table.name.lower() in live
        or any(value for name, value in table.args.items() if name not in ("this", "alias"))
        or (table.args.get("alias") and table.args["alias"].columns)
        or not isinstance(table.this, exp.Identifier)
        or {name for name, value in join.args.items() if value} != plain
        or join.side != "LEFT"
    ):
        return None
    own = table.alias_or_name.lower()
    found = [_comparison(part, own, base) for part in _conditions(join.args["on"])]
    if not all(found):
        return None
    equal = [one for one in found if one and one[1] == "="]
    ordered = [one for one in found if one and one[1] != "="]
    if len(ordered) != int(asof):
        return None
    columns, _, keys = zip(*equal, *ordered, strict=True)
    if len(set(columns)) < len(columns):
        return None
    order = ordered[0][1] if ordered else None
    return {"table": table.name, "columns": columns, "keys": keys, "order": order}


def _conditions(on: "exp.Expr") -> list["exp.Expr"]:
    """The conditions that all must hold."""
    from sqlglot import exp

    on = on.unnest()
    return list(on.flatten()) if isinstance(on, exp.And) else [on]


def _comparison(part: "exp.Expr", own: str, base: str) -> tuple[str, str, str] | None:
    """Column, comparison and key of one condition, if it compares a column with the row asked."""
    from sqlglot import exp

    part = part.unnest()
    turned: dict[type, str] = {exp.EQ: "=", exp.LT: ">", exp.LTE: ">=", exp.GT: "<", exp.GTE: "<="}
    straight: dict[type, str] = {
        exp.EQ: "=",
        exp.LT: "<",
        exp.LTE: "<=",
        exp.GT: ">",
        exp.GTE: ">=",
    }
    for column, key, words in (
        (part.this, part.expression, straight),
        (part.expression, part.this, turned),
    ):
        if type(part) not in words or not isinstance(column, exp.Column):
            continue
        tables = {node.table.lower() for node in key.find_all(exp.Column)}
        if column.table.lower() == own and tables == {base.lower()}:
            return column.name, words[type(part)], _text(key)
    return None


def _outputs(
    select: "exp.Select", names: Mapping[str, int]
) -> tuple[tuple[Output, ...], list["exp.Expr"]]:
    """The result's columns, and those of them that are computed."""
    from sqlglot import exp

    outputs, computed = [], []
    for item in select.expressions:
        value, name = item.unalias(), item.alias_or_name
        if isinstance(value, exp.Column) and value.table.lower() in names:
            outputs.append(Output(name, names[value.table.lower()], value.name))
        else:
            outputs.append(Output(name))
            computed.append(item)
    return tuple(outputs), computed


def _point_to_found(
    select: "exp.Select", base: str, names: Mapping[str, int]
) -> dict[int, set[str]]:
    """Let expressions read a lookup's columns from what was found; says which columns."""
    from sqlglot import exp

    values: dict[int, set[str]] = {i: set() for i in names.values()}
    parts = [*select.expressions, *select.args["joins"], select.args.get("where")]
    columns = [c for part in parts if part for c in part.find_all(exp.Column)]
    for column in columns:
        lookup = names.get(column.table.lower())
        if lookup is None:
            continue
        values[lookup].add(column.name)
        found = _found(base, f"v_{lookup}_{column.name}")
        item = column.parent
        column.replace(found)
        assert not isinstance(item, exp.Select), "a bare column of a lookup is not computed"
    return values


def _found(base: str, field: str) -> "exp.Expr":
    from sqlglot import exp

    struct = exp.column(FOUND, table=base, quoted=True)
    return exp.Dot(this=struct, expression=exp.to_identifier(field, quoted=True))


def _reading(view: str, select: "exp.Select") -> "exp.Select":
    """The query with `request` being the rows of a view."""
    import sqlglot

    rows = sqlglot.parse_one(f'SELECT * FROM "{view}"', dialect="duckdb")
    select.with_(REQUEST, as_=rows, copy=False)
    ctes = select.args["with_"].expressions
    ctes.insert(0, ctes.pop())
    return select


def _keys_query(select: "exp.Select", keys: list[str]) -> "exp.Select":
    """Only the keys of the rows asked about, with the CTEs they need."""
    asked = select.copy()
    asked.set("joins", [])
    asked.set("where", None)
    named = [f"{key} AS key_{i}" for i, key in enumerate(keys)]
    return asked.select(*named, append=False, dialect="duckdb")


def _add_places(select: "exp.Select", base: str, count: int) -> None:
    """Put the places of what was found into the result."""
    from sqlglot import exp

    places = [exp.alias_(_found(base, f"at_{i}"), f"at_{i}", quoted=True) for i in range(count)]
    select.set("expressions", [*select.expressions, *places])


def _hand_on(chain: list["exp.Select"]) -> None:
    """Let each CTE give on what was found for its rows, where it does not give all columns on."""
    from sqlglot import exp

    for query in chain:
        if not any(item.is_star for item in query.expressions):
            query.append("expressions", exp.column(FOUND, quoted=True))


def _text(tree: "exp.Expr") -> str:
    return tree.sql(dialect="duckdb", comments=False)
