"""The fenced blocks of a page: commands to run, edits to make, and what commands should have said.

As a program it makes one edit: `python blocks.py BLOCKS.json NUMBER`, in the checkout.
"""

import json
import re
import shlex
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.M | re.S)
_ANYTHING = "…"


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: `bash` is run, `text` is what the block before said, others may be edits.
        text: What it holds.
        about: `file` names what it edits; `after`, `before` or `replace` a line of that, which
            must be there once; `at=end` its end. Without one of these it is the whole file.
    """

    language: str
    text: str
    about: dict[str, str] = field(default_factory=dict)

    @property
    def is_edit(self) -> bool:
        return "file" in self.about


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    found = []
    for indent, info, body in _FENCE.findall(page):
        language, *more = shlex.split(info) or [""]
        text = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        found.append(Block(language, text, dict(part.split("=", 1) for part in more)))
    return found


def edit(block: Block, folder: Path) -> None:
    """Make the edit that a block shows.

    Raises:
        ValueError: the line that it names is not there, or more than once.
    """
    file = folder / block.about["file"]
    if "at" in block.about:
        file.write_text(file.read_text(encoding="utf-8") + "\n\n" + block.text, encoding="utf-8")
        return
    where = next((one for one in ("after", "before", "replace") if one in block.about), None)
    if where is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    named = [n for n, line in enumerate(lines) if line.rstrip("\n") == block.about[where]]
    if len(named) != 1:
        raise ValueError(f"{file} must have the line {block.about[where]!r} once, not {len(named)}")
    start, end = {"after": (1, 1), "before": (0, 0), "replace": (0, 1)}[where]
    lines[named[0] + start : named[0] + end] = [block.text]
    file.write_text("".join(lines), encoding="utf-8")


def not_said(expected: str, said: str) -> list[str]:
    """The expected lines that no line of the output holds; `…` stands for anything."""
    lines = said.splitlines()
    return [
        line
        for line in expected.splitlines()
        if line.strip() and not any(_pattern(line).search(given) for given in lines)
    ]


def _pattern(line: str) -> "re.Pattern[str]":
    pieces = (r"\s+".join(map(re.escape, piece.split())) for piece in line.split(_ANYTHING))
    return re.compile(".*".join(pieces))


def save(blocks: list[Block], file: Path) -> None:
    file.write_text(json.dumps([asdict(block) for block in blocks]), encoding="utf-8")


if __name__ == "__main__":
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))[int(sys.argv[2])]
    edit(Block(**told), Path.cwd())
