"""Pages: their commands are shell, their links lead somewhere, and each is run by a test."""

import re
import subprocess
from pathlib import Path

import pytest
from blocks import Block, blocks_of, edit, not_said
from test_commands import ORDER

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN_BY_HAND = {"architecture.md"}


def test_every_page_with_commands_is_run() -> None:
    with_commands = [
        page.relative_to(DOCS).as_posix()
        for page in PAGES
        if any(block.language == "bash" for block in blocks_of(page.read_text("utf-8")))
    ]

    assert sorted(ORDER) == sorted(set(with_commands) - RUN_BY_HAND)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_shell_and_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if page.name not in RUN_BY_HAND:
            assert block.language in {"bash", "text", "console", "yaml", "sql", "python"}
        if block.language in {"bash", "console"}:
            done = subprocess.run(
                ["bash", "-n"], input=block.text, text=True, capture_output=True, check=False
            )
            assert done.returncode == 0, f"{block.text}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files_and_to_headings_lead_to_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    wrong = []
    for link in re.findall(r"\]\(([^)#\s:]*)(?:#[^)]*)?\)", text):
        if link and not (page.parent / link).exists():
            wrong.append(link)

    assert wrong == []


PAGE = """\
1. First

   ```bash
   echo "one"
     echo two
   ```

```yaml file=a.yaml after="  tables:"
    plans: {}
```
"""


def test_blocks_are_found_with_their_language_and_what_they_edit() -> None:
    first, second = blocks_of(PAGE)

    assert first == Block("bash", 'echo "one"\n  echo two\n')
    assert second == Block("yaml", "    plans: {}\n", {"file": "a.yaml", "after": "  tables:"})
    assert (first.is_edit, second.is_edit) == (False, True)


@pytest.mark.parametrize(
    ("about", "becomes"),
    [
        ({"after": "b"}, "a\nb\nNEW\nc\n"),
        ({"before": "b"}, "a\nNEW\nb\nc\n"),
        ({"replace": "b"}, "a\nNEW\nc\n"),
        ({"at": "end"}, "a\nb\nc\n\n\nNEW\n"),
        ({}, "NEW\n"),
    ],
)
def test_an_edit_is_made_where_it_says(tmp_path: Path, about, becomes: str) -> None:
    (tmp_path / "x").write_text("a\nb\nc\n", encoding="utf-8")

    edit(Block("python", "NEW\n", {"file": "x", **about}), tmp_path)

    assert (tmp_path / "x").read_text(encoding="utf-8") == becomes


@pytest.mark.parametrize("text", ["a\nc\n", "b\nb\n"])
def test_an_edit_of_a_line_that_is_not_there_once_fails(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match="must have the line 'b' once"):
        edit(Block("python", "NEW\n", {"file": "x", "after": "b"}), tmp_path)


def test_what_was_not_said_is_told_line_by_line() -> None:
    said = "✓ churn/raw/customers     5.3 s\nchurn  churn:2026-05  roc_auc 0.79\n"

    assert not_said("✓ churn/raw/customers …\n\nchurn … roc_auc 0.7…", said) == []
    assert not_said("✓ churn/raw/orders …\nroc_auc 0.8…", said) == [
        "✓ churn/raw/orders …",
        "roc_auc 0.8…",
    ]
