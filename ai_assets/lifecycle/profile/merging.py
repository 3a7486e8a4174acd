"""What the data changed brought into what a person made of a declaration, line by line."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Merged:
    """A text with both changes.

    Attributes:
        text: the person's, with what the data changed elsewhere.
        kept: lines of the person that the data would have otherwise, each with the data's; empty
            texts where one of them took the line out.
    """

    text: str
    kept: tuple[tuple[str, str], ...] = ()


def merged(before: str, mine: str, theirs: str, *, named: bool) -> Merged:
    """Three texts as one: where the person changed a line, that stays; elsewhere the data's counts.

    Args:
        before: what was written from the data before.
        mine: what a person made of it.
        theirs: what would be written from the data as it is.
        named: whether what stands before a line's first colon names it, as in YAML: then one line
            may change beside another. Of others neighbours that both changed stay as they are.
    """
    lines: list[str] = []
    kept: list[tuple[str, str]] = []
    for old, own, new in _parts(*(text.splitlines() for text in (before, mine, theirs))):
        if own == old:
            lines += new
        elif new in (old, own):
            lines += own
        else:
            found, differ = _by_line(old, own, new) if named else _as_mine(own, new)
            lines += found
            kept += differ
    return Merged("".join(f"{line}\n" for line in lines), tuple(kept))


def _parts(
    old: list[str], own: list[str], new: list[str]
) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """The three texts cut where all of them are alike; each line is in one part."""
    here = there = then = 0
    for start, end, in_own, in_new in [
        *_alike(old, own, new),
        (len(old),) * 2 + (len(own), len(new)),
    ]:
        yield old[here:start], own[there:in_own], new[then:in_new]
        yield old[start:end], own[in_own : in_own + end - start], new[in_new : in_new + end - start]
        here, there, then = end, in_own + end - start, in_new + end - start


def _alike(old: list[str], own: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    """Stretches of the first that both others have: start and end, and where they begin there."""
    first = SequenceMatcher(None, old, own, autojunk=False).get_matching_blocks()
    second = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    found, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        a, b = first[i], second[j]
        start, end = max(a.a, b.a), min(a.a + a.size, b.a + b.size)
        if start < end:
            found.append((start, end, a.b + start - a.a, b.b + start - b.a))
        if a.a + a.size < b.a + b.size:
            i += 1
        else:
            j += 1
    return found


def _by_line(
    old: list[str], own: list[str], new: list[str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """A part that both changed: line by line, each told by its name."""
    was, mine, theirs = ({_name(line): line for line in lines} for lines in (old, own, new))
    if any(len(named) < len(lines) for named, lines in ((mine, own), (theirs, new))):
        return _as_mine(own, new)
    lines: list[str] = []
    kept: list[tuple[str, str]] = []
    for name in _order(list(mine), list(theirs)):
        before, ours, data = was.get(name, ""), mine.get(name, ""), theirs.get(name, "")
        if ours == before:
            lines += [data] if data else []
            continue
        lines += [ours] if ours else []
        if data not in (before, ours):
            kept.append((ours, data))
    return lines, kept


def _as_mine(own: list[str], new: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    return own, [("\n".join(own), "\n".join(new))]


def _order(mine: list[str], theirs: list[str]) -> list[str]:
    """The names of both: the person's order, and each of the data's behind the one before it."""
    found = list(mine)
    at = 0
    for name in theirs:
        if name in found:
            at = found.index(name) + 1
        else:
            found.insert(at, name)
            at += 1
    return found


def _name(line: str) -> str:
    return line.split("#", 1)[0].split(":", 1)[0].strip().removeprefix("- ") or line.strip()
