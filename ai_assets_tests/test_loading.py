"""Loading definitions leaves the process as it was, and reads declarations as Dagster itself."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster_shared.yaml_utils import parse_yamls_with_source_position
from dagster_shared.yaml_utils.source_position import SourcePositionTree

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.loading import (
    LibyamlLoader,
    definitions_are_kept,
    mistakes_are_told_first,
    yaml_is_read_by_libyaml,
)

ROOT = Path(__file__).resolve().parent.parent
PRODUCTS = ROOT / "ai_assets" / "products"


@pytest.mark.parametrize("looking", [True, False])
def test_definitions_are_kept_out_of_the_collectors_way(looking: bool) -> None:
    gc.enable() if looking else gc.disable()
    gc.unfreeze()
    try:
        with definitions_are_kept():
            assert not gc.isenabled()
        assert gc.isenabled() is looking
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


def test_definitions_that_cannot_be_made_leave_the_collector_on() -> None:
    with pytest.raises(ValueError, match="no such product"), definitions_are_kept():
        raise ValueError("no such product")
    assert gc.isenabled()


def positions(tree: SourcePositionTree, path: tuple[object, ...] = ()) -> dict[object, object]:
    found: dict[object, object] = {path: tree.position}
    for name, child in tree.children.items():
        found |= positions(child, (*path, name))
    return found


@pytest.mark.parametrize(
    "file", sorted(PRODUCTS.glob("*/defs.yaml")), ids=lambda it: it.parent.name
)
def test_a_declaration_has_the_same_values_lines_and_columns_either_way(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    (expected,) = parse_yamls_with_source_position(text, str(file))
    with yaml_is_read_by_libyaml():
        assert yaml.SafeLoader is LibyamlLoader
        (read,) = parse_yamls_with_source_position(text, str(file))

    assert yaml.SafeLoader is not LibyamlLoader
    assert read.value == expected.value
    assert positions(read.source_position_tree) == positions(expected.source_position_tree)


def test_a_declaration_that_is_not_yaml_is_shown_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "defs.yaml"
    file.write_text("type: x\nattributes: {owners: [a\n", encoding="utf-8")
    text = file.read_text(encoding="utf-8")

    with pytest.raises(yaml.MarkedYAMLError) as error, yaml_is_read_by_libyaml():
        parse_yamls_with_source_position(text, str(file))

    assert "attributes: {owners: [a" in str(error.value)
    assert f'in "{file}", line 2, column 22' in str(error.value)
    assert yaml.SafeLoader is not LibyamlLoader


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the project, of what its definitions are made of."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "ai_assets", tmp_path / "ai_assets")
    return tmp_path


def loaded_with(copied: Path, wrong: str) -> str:
    """The last line of what loading says where `nullable: false` is written wrong at one place."""
    file = copied / "ai_assets" / "products" / "telco_churn" / "defs.yaml"
    text = file.read_text(encoding="utf-8").replace("nullable: false", wrong, 1)
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from ai_assets.definitions import defs; defs()"],
        env=os.environ | {"AI_ASSETS_HOME": str(copied), "PYTHONPATH": str(copied)},
        cwd=copied,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stderr.split("ai_assets.lifecycle.errors.DeclarationError: ")[-1].strip()


def test_a_wrong_declaration_is_told_first_by_file_and_line(copied: Path) -> None:
    file = copied / "ai_assets" / "products" / "telco_churn" / "defs.yaml"
    lines = file.read_text(encoding="utf-8").split("\n")
    line = next(n for n, text in enumerate(lines, start=1) if "nullable: false" in text)
    at = f"attributes.tables.customers.columns.partner at {file}:{line}"

    said = loaded_with(copied, "nulable: false")

    assert said == f"{at}: 'nulable' is not a field here. Did you mean 'nullable'?"


def test_a_declaration_that_cannot_be_parsed_is_told_first_as_well(copied: Path) -> None:
    said = loaded_with(copied, "nullable: [false")

    assert said.startswith("while parsing a flow sequence")
    assert "defs.yaml" in said and "expected ',' or ']'" in said


def test_other_errors_of_loading_pass_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), mistakes_are_told_first():
        raise ZeroDivisionError

    with pytest.raises(DeclarationError, match=r"^no such file$") as told:  # noqa: SIM117
        with mistakes_are_told_first():
            raise RuntimeError("Error while loading component") from DeclarationError(
                "no such file"
            )
    assert isinstance(told.value.__cause__, RuntimeError)


WITHOUT_LIBYAML = """
import sys
sys.modules["yaml._yaml"] = None
import yaml
assert not yaml.__with_libyaml__
own = yaml.SafeLoader
from ai_assets.definitions import defs
assert yaml.SafeLoader is own
print(*sorted({key.path[0] for key in defs().resolve_asset_graph().get_all_asset_keys()}))
"""


def test_definitions_load_where_pyyaml_has_no_parser_in_c(tmp_path: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBYAML],
        env=os.environ | {"AI_ASSETS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert loaded.returncode == 0, loaded.stderr
    products = {file.parent.name for file in PRODUCTS.glob("*/defs.yaml")}
    assert products <= set(loaded.stdout.split())


@pytest.mark.parametrize(("given", "sleeps"), [({}, True), ({"OMP_WAIT_POLICY": "ACTIVE"}, False)])
@pytest.mark.parametrize("library", ["lightgbm", "torch"])
def test_threads_of_trainings_sleep_while_they_wait_unless_their_owner_says_otherwise(
    library: str, given: dict[str, str], sleeps: bool
) -> None:
    openmp = ("OMP_", "GOMP_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(openmp)}

    loaded = subprocess.run(
        [sys.executable, "-c", f"import ai_assets, {library}"],
        env=own | given | {"OMP_DISPLAY_ENV": "VERBOSE"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    # The policy's own line reads PASSIVE where nothing was said, too, and threads then spin.
    assert ("GOMP_SPINCOUNT = '0'" in loaded.stderr) == sleeps
    assert "GOMP_SPINCOUNT = " in loaded.stderr
