"""How personal data is treated before it is kept, as declared, and what is left of a column then.

A treated column is known by its treated form everywhere: in the lake from `raw` on, in features,
reports, bundles and requests. Its plain values stay in the source.
"""

from typing import Any

from ai_assets.lifecycle.errors import must_be

TREATMENTS = ("drop", "hash", "mask", "generalize")
PSEUDONYM = "[0-9a-f]{32}"
MASKED = r"(?:\*+.{0,4})?"
OF_TYPES = {
    "hash": ("string", "int64"),
    "mask": ("string",),
    "generalize": ("string", "int64", "float64", "date", "datetime"),
}
"""Types of columns that each treatment is for; any may be dropped."""
_KEPT = ("description", "unit", "nullable", "known_at", "unknown", "sensitive")
_EXAMPLES = {"hash": "0" * 32, "mask": "*****0000"}


def with_treated_columns(given: dict[str, Any]) -> dict[str, Any]:
    """A table as declared, with treated columns in their treated form and the plain ones aside.

    Raises:
        ValueError: a treatment is not for such a column.
    """
    columns, plain, dropped = {}, dict(given.get("plain") or {}), []
    for name, column in (given.get("columns") or {}).items():
        if not isinstance(column, dict) or column.get("personal") not in TREATMENTS:
            columns[name] = column
            continue
        _check(name, column, given)
        plain[name] = column
        if column["personal"] == "drop":
            dropped.append(name)
        else:
            columns[name] = _treated(column)
    ignored = [*(given.get("ignore") or []), *dropped]
    return given | {"columns": columns, "plain": plain, "ignore": ignored} if plain else given


def _check(name: str, column: dict[str, Any], given: dict[str, Any]) -> None:
    treatment, kind, to = column["personal"], column.get("type"), column.get("to")
    if treatment != "hash" and name in (given.get("key") or []):
        raise ValueError(must_be(f"personal of '{name}', which is in the key,", "hash", treatment))
    if treatment == "drop":
        return
    if kind not in OF_TYPES[treatment]:
        allowed = OF_TYPES[treatment]
        raise ValueError(
            must_be(f"the type of '{name}', whose personal is {treatment},", allowed, kind)
        )
    if treatment != "generalize":
        return
    steps = isinstance(to, int | float) and not isinstance(to, bool) and to > 0
    if kind in ("date", "datetime") and to not in ("year", "month"):
        raise ValueError(must_be(f"to of '{name}', a {kind}", ("year", "month"), to))
    if kind not in ("date", "datetime") and not steps:
        what = "how many characters are kept" if kind == "string" else "a step above 0"
        raise ValueError(must_be(f"to of '{name}', a {kind},", what, to))


def _treated(column: dict[str, Any]) -> dict[str, Any]:
    treatment = column["personal"]
    left = {name: column[name] for name in _KEPT if name in column}
    if treatment == "generalize":
        # The declarer has judged it coarse enough to be learned from and shown.
        return left | {"type": column["type"]}
    pattern = PSEUDONYM if treatment == "hash" else MASKED
    shown = {"example": _EXAMPLES[treatment]} if column.get("example") is not None else {}
    return left | shown | {"type": "string", "pattern": pattern, "personal": True}
