"""What each column is for: asked and learned from, kept, or left out; with the reason."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from ai_assets.lifecycle.profile.bounds import bounds
from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.facts import MOST_ALLOWED, Facts
from ai_assets.lifecycle.profile.keys import is_counter, is_row_number, looks_like_id
from ai_assets.lifecycle.profile.leaking import share_later, told_by_gaps, too_good
from ai_assets.lifecycle.profile.personal import suspected
from ai_assets.lifecycle.profile.sql_words import quoted
from ai_assets.lifecycle.schema.tables import ColumnType
from ai_assets.lifecycle.tally import tally

Use = Literal["key", "time", "target", "feature", "personal", "left out", "item", "beside", "late"]
_SENSITIVE = re.compile(
    r"(.*[_\s.-])?(gender|sex|female|male|race|ethnicity|religion|nationality|marital(_?status)?|"
    r"disability|senior(_?citizen)?|geschlecht)$"
)
_ENDLESS = 0.002
_FAR_OUT = 1e15
"""Numbers that large are codes or mistakes: a range of them keeps nothing out."""
_OWN_VALUES = 0.9
_SHARED = 0.5
_FEW_ROWS = 20
_LONG = 60
_SEEN_AGAIN = 10
"""Rows of the rarest word where all words are taken to be known."""
MOST_GROUPS = 6


@dataclass(frozen=True)
class Guess:
    """One column as it would be declared.

    Attributes:
        use: what it is for.
        declared: fields of the column, in order.
        reason: why, in words; empty where it goes without saying.
        sensitive: whether it tells a group that fairness is about.
        learned: whether models see it; so it is with features, and with a part of a key that many
            rows share.
    """

    name: str
    use: Use
    declared: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    sensitive: bool = False
    learned: bool = False

    @property
    def type(self) -> ColumnType:
        """As declared."""
        found: ColumnType = self.declared["type"]
        return found


@dataclass(frozen=True)
class Known:
    """What was found of the file before its columns are judged one by one.

    Attributes:
        moments: values of the column `time` [n]; None of a table without.
    """

    key: list[str]
    key_reason: str
    time: str | None
    target: str
    task: str
    allowed: list[Any]
    moments: pl.Series | None = None


def guess(name: str, column: Typed, facts: Facts | None, known: Known, target: pl.Series) -> Guess:
    """What a column is for.

    Args:
        name: of the column.
        column: its type and the values that were looked at [n].
        facts: what is so of all its values; None where it has no type.
        known: of the file.
        target: the target's values [n].
    """
    if facts is None or column.type is None:
        words = f"no kind of value that a column can hold: {column.values.dtype}"
        return Guess(name, "left out", {}, words)
    if not name.strip():
        is_number = is_row_number(column.values)
        return Guess(name, "left out", {}, "the row's number" if is_number else "has no name")
    declared: dict[str, Any] = {"type": column.type}
    if name == known.target:
        allowed = {"allowed": known.allowed} if known.allowed else {}
        return Guess(name, "target", {**declared, **allowed, "known_at": "NULL"})
    odd = f"{column.odd} values are not, and such rows are rejected" if column.odd else ""
    person = suspected(column.values)
    if name in known.key:
        if person:
            return Guess(name, "key", {**declared, "personal": True}, known.key_reason)
        shared = facts.distinct <= _SHARED * len(column.values)
        more = _contract(name, column, facts) if shared else {}
        return Guess(name, "key", declared | more, known.key_reason, learned=shared)
    if name == known.time:
        return Guess(name, "time", {**declared, "nullable": False}, "")
    if person:
        what, why = person
        declared |= {"personal": True, "known_at": "NULL"}
        words = f"{_article(what)} {what}, {why}: neither asked nor learned from"
        return Guess(name, "personal", declared, words)
    if reason := _useless(name, column, facts):
        return Guess(name, "left out", {}, reason)
    if leak := _leak(column.values, target, known.task):
        return Guess(name, "left out", {}, leak)
    declared |= _contract(name, column, facts)
    later = share_later(column.values, known.moments) if _is_moment(column) else None
    if later is not None:
        declared.pop("example", None)
        words = f"later than {known.time} in {later:.1%} of the rows: known then, not before"
        return Guess(name, "late", {**declared, "known_at": quoted(name)}, words)
    sensitive = facts.distinct <= MOST_GROUPS and _is_sensitive(name)
    if sensitive:
        declared["sensitive"] = True
    if facts.missing:
        share = facts.missing / facts.rows
        missing = f"{max(share, 0.001):.1%} missing" if share < 1 else ""
        odd = "; ".join(filter(None, (missing, odd)))
    return Guess(name, "feature", declared, odd, sensitive, learned=True)


def _is_moment(column: Typed) -> bool:
    return column.type in ("date", "datetime")


def _leak(values: pl.Series, target: pl.Series, task: str) -> str:
    """Why a column cannot have been known before the target was; empty of honest ones."""
    there = target.is_not_null()
    values, target = values.filter(there), target.filter(there)
    if found := too_good(values, target, task):
        return f"too good to be true: {found}"
    if found := told_by_gaps(values, target, task):
        return f"known after the target: {found}"
    return ""


def _useless(name: str, column: Typed, facts: Facts) -> str:
    """Why a column has nothing to learn from; empty of others."""
    there = column.values.drop_nulls()
    if there.is_empty():
        return "always missing"
    endless = int(there.is_infinite().sum()) if there.dtype.is_float() else 0
    if endless > _ENDLESS * len(there):
        return f"{endless:,} of its values are infinite, and such rows would be rejected"
    alone = facts.distinct == 1 and len(facts.words) < 2 and facts.low == facts.high
    if alone and (there.len() == column.values.len() or column.type != "string"):
        return f"always {there[0]}"
    if is_row_number(there):
        return "the row's number"
    if len(there) < _FEW_ROWS:
        return ""
    own = facts.distinct >= _OWN_VALUES * len(there)
    if own and (column.type == "string" or (column.type == "int64" and looks_like_id(name))):
        return "an identifier or free text: nearly every row has its own"
    if is_counter(there):
        return "counts the rows"
    if column.type == "string":
        length = there.str.len_chars().mean()
        if isinstance(length, float) and length > _LONG and facts.distinct > MOST_ALLOWED:
            return "free text; a product of texts reads such"
    return ""


def _contract(name: str, column: Typed, facts: Facts) -> dict[str, Any]:
    """Range, allowed values, whether it may be missing, and an example."""
    found: dict[str, Any] = {}
    there = column.values.drop_nulls()
    if column.type in ("int64", "float64"):
        whole = column.type == "int64"
        if whole and (facts.low, facts.high) == (0, 1):
            found["allowed"] = [0, 1]
        elif max(abs(facts.low), abs(facts.high)) < _FAR_OUT:
            low, high = bounds(float(facts.low), float(facts.high), whole=whole, name=name)
            found |= {"min": low, "max": high}
    if column.type == "string" and facts.words and _are_all(there):
        found["allowed"] = list(facts.words)
    if not facts.missing and not column.odd:
        found["nullable"] = False
    if example := _example(column.type or "", there):
        found["example"] = example[0]
    return found


def _are_all(there: pl.Series) -> bool:
    """Whether there is hardly a word beside those seen: each was seen again and again.

    Where some are rare, others will come that were not among these rows (Good 1953), and a request
    should not be refused for one of them.
    """
    return bool((tally(there)["rows"] >= _SEEN_AGAIN).all())


def _example(kind: str, there: pl.Series) -> list[Any]:
    """A common value, as a caller would send it; none of a column without one."""
    if kind in ("string", "bool"):
        return [tally(there, sort=True)["value"][0]]
    if kind in ("int64", "float64"):
        middle = there.sort()[len(there) // 2]
        return [middle if kind == "int64" else float(f"{middle:.6g}")]
    middle = there.sort()[len(there) // 2]
    return [middle.isoformat().replace("+00:00", "Z")]


def _is_sensitive(name: str) -> bool:
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return _SENSITIVE.fullmatch(plain) is not None


def _article(what: str) -> str:
    return "an" if what[0] in "aeiou" else "a"
