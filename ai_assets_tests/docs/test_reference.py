"""The reference is what the code's descriptions give, and each field has one."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

COMMAND = ".venv/bin/python docs/make_reference.py"


@pytest.fixture(scope="module")
def maker(repo_root: Path) -> ModuleType:
    """`docs/make_reference.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location(
        "make_reference", repo_root / "docs" / "make_reference.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["declaration.md", "settings.md"])
def test_the_committed_reference_is_what_the_code_says(
    maker: ModuleType, repo_root: Path, name: str
) -> None:
    committed = (repo_root / "docs" / "reference" / name).read_text(encoding="utf-8")

    assert committed == maker.pages()[name], f"docs/reference/{name} is out of date. Run: {COMMAND}"


def test_every_field_of_every_section_says_what_it_means(maker: ModuleType) -> None:
    without = [
        f"{section.__name__}.{name}"
        for section in maker._sections()
        for name, field in section.model_fields.items()
        if len(field.description or "") < 10
    ]

    assert without == []
    assert len(maker._sections()) > 20


def test_a_field_s_row_has_its_type_default_bounds_and_meaning(maker: ModuleType) -> None:
    text = maker.declaration()

    assert (
        "| `horizon` | text | `0 days` | How long before the event the answer is given. |" in text
    )
    assert "| `request` | text | **required** | The table whose rows are scored. |" in text
    assert "| `channels` | one of `1`, `3` |  | Of an image: 1 is grey" in text
    assert "the rest is cut off. Default: 64. *At least 4, at most 512.* |" in text
    assert "| `tables` | map of names to [Table](#table) | **required** |" in text
    assert '<a id="table"></a>' in text
    assert "## Table · `tables`" in text


def test_links_within_the_reference_lead_somewhere(maker: ModuleType) -> None:
    import re

    text = maker.declaration()
    anchors = set(re.findall(r'<a id="([^"]+)">', text))

    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_each_setting_is_told_with_what_it_says(maker: ModuleType) -> None:
    text = maker.settings()

    assert "| AI_ASSETS_MAX_ROWS | `1000` | Most rows of a request. |" in text
    assert "| AI_ASSETS_ALERTS_FILE |  | A file that gets a line of JSON an alert. |" in text
    assert "| AI_ASSETS_HOME |  | The state root" in text
