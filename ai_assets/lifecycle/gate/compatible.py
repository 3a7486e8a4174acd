"""Whether callers of one bundle can call another: what they send and what they get."""

from collections.abc import Iterator

from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Column, Table


def incompatible(champion: tuple[Table, Decision], challenger: tuple[Table, Decision]) -> list[str]:
    """What would break a caller, in words; empty where nothing does.

    A request may lose nothing it may send and gain no field it must send; ranges, allowed values
    and patterns may widen. The answer keeps its kind and its words.

    Args:
        champion: request table and decision of what callers call now.
        challenger: those of what would replace it.
    """
    old, new = champion[0].columns, challenger[0].columns
    found = [f"{name} can no longer be sent" for name in old if name not in new]
    for name, column in new.items():
        if name in old:
            found += [f"{name} {words}" for words in _narrower(old[name], column)]
        elif not column.nullable:
            found.append(f"{name} must be sent, which callers do not")
    before, after = champion[1], challenger[1]
    if before.task != after.task:
        found.append(f"the answer is a {after.task} one, was {before.task}")
    elif before.classes != after.classes:
        found.append(f"answers are {list(after.classes)}, were {list(before.classes)}")
    elif before.interval is not None and after.interval is None:
        found.append("answers have no interval, had one")
    return found


def _narrower(old: Column, new: Column) -> Iterator[str]:
    if old.type != new.type:
        yield f"is of type {new.type}, was {old.type}"
    if old.nullable and not new.nullable:
        yield "may no longer be missing"
    if new.min is not None and (old.min is None or new.min > old.min):
        yield f"must be at least {new.min}, was {_or(old.min, 'unlimited')}"
    if new.max is not None and (old.max is None or new.max < old.max):
        yield f"must be at most {new.max}, was {_or(old.max, 'unlimited')}"
    if new.allowed is not None:
        gone = [v for v in old.allowed or [] if v not in new.allowed]
        if old.allowed is None:
            yield f"allows only {new.allowed}, was free"
        elif gone:
            yield f"no longer allows {gone}"
    if new.unknown == "reject" and old.unknown != "reject" and new.type == "string":
        yield "is refused where training never saw its text, was scored as 'other'"
    if new.pattern is not None and new.pattern != old.pattern:
        yield f"must match {new.pattern!r}, was {_or(old.pattern, 'free')}"


def _or(value: object, other: str) -> object:
    return other if value is None else value
