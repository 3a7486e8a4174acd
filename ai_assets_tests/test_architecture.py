"""Which room may use which, and what may be imported where. docs/architecture.md says why."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BELOW = {
    "doctor": {"definitions", "resources", "serving", "lifecycle"},
    "definitions": {"components", "automation", "stages", "resources", "serving", "lifecycle"},
    "components": {"automation", "stages", "resources", "serving", "lifecycle"},
    "automation": {"stages", "resources", "serving", "lifecycle"},
    "stages": {"resources", "serving", "lifecycle"},
    "resources": {"serving", "lifecycle"},
    "serving": {"lifecycle"},
    "products": {"lifecycle"},
    "lifecycle": set(),
}
SERVING_MAY_USE = {"errors", "naming", "schema", "features", "partitions"}
# Within lifecycle: a part, and what comes after it, which it must not know.
COME_AFTER = {"sources": {"cleaning"}}
HEAVY = {
    "bentoml", "dagster_mlflow", "evidently", "lightgbm", "matplotlib", "mlflow", "onnx",
    "onnxruntime", "onnxscript", "optuna", "pandas", "scipy", "sklearn",
    "torch",
}  # fmt: skip
# Modules may import these as they load, but none of those is needed to load the definitions.
NOT_ON_LOADING = HEAVY | {
    "deltalake", "duckdb", "numpy", "polars", "pyarrow", "sqlalchemy", "sqlglot",
}  # fmt: skip
HEAVY_ALLOWED = {("serving/service.py", "bentoml")}
UNKNOWN_TO = {
    "lifecycle": {"dagster", "dagster_mlflow", "mlflow", "bentoml"},
    "serving": {"dagster", "dagster_mlflow", "mlflow", "evidently", "optuna", "sklearn", "torch"},
}
NO_LAZY_ANNOTATIONS = {"stages", "components", "resources", "automation", "definitions"}
MOST_LINES = 400
PACKAGE = Path(__file__).resolve().parent.parent / "ai_assets"


def imported_by(tree: ast.AST) -> Iterator[str]:
    """The dotted names that the code imports, wherever in it; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The import statements that importing the module executes: none inside functions."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from run_on_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from run_on_import(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from run_on_import(handler.body)


def room_of(path: Path, package: Path) -> str:
    """The room of a module: its first folder; modules beside `definitions.py` belong to it."""
    parts = path.relative_to(package).parts
    return parts[0] if len(parts) > 1 else "definitions"


def arrow_problems(path: Path, package: Path) -> list[str]:
    """Imports that go up, sideways, or from serving into a part of lifecycle it must not know."""
    room, problems = room_of(path, package), []
    if room not in BELOW:
        return [f"{room} is not a room that docs/architecture.md names"]
    for name in imported_by(ast.parse(path.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != "ai_assets" or len(parts) < 2:
            continue
        theirs = parts[1] if parts[1] in BELOW else "definitions"
        if theirs == room:
            continue
        if theirs not in BELOW[room]:
            problems.append(f"{room} must not import {name}")
        elif room == "serving" and (len(parts) < 3 or parts[2] not in SERVING_MAY_USE):
            problems.append(f"serving must not import {name}")
    return problems


def order_problems(path: Path, package: Path) -> list[str]:
    """Imports of a part of lifecycle by one that comes before it."""
    room, part, *_ = (*path.relative_to(package).parts, "")
    later = COME_AFTER.get(part, set()) if room == "lifecycle" else set()
    return [
        f"{part} must not import {name}"
        for name in imported_by(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("ai_assets.lifecycle.") and name.split(".")[2] in later
    ]


def unknown_library_problems(path: Path, package: Path) -> list[str]:
    """Libraries that the module's room must not know, wherever they are imported."""
    room = room_of(path, package)
    found = {name.split(".")[0] for name in imported_by(ast.parse(path.read_text("utf-8")))}
    return [f"{room} must not know {name}" for name in sorted(found & UNKNOWN_TO.get(room, set()))]


def heavy_import_problems(path: Path, package: Path) -> list[str]:
    """Slow libraries that importing the module would load."""
    where = path.relative_to(package).as_posix()
    found: set[str] = set()
    for statement in run_on_import(ast.parse(path.read_text(encoding="utf-8")).body):
        found |= {name.split(".")[0] for name in imported_by(statement)}
    return [
        f"{name} must be imported inside the function that needs it"
        for name in sorted(found & HEAVY)
        if (where, name) not in HEAVY_ALLOWED
    ]


def annotation_problems(path: Path, package: Path) -> list[str]:
    """`from __future__ import annotations` where Dagster resolves types."""
    if room_of(path, package) not in NO_LAZY_ANNOTATIONS:
        return []
    names = set(imported_by(ast.parse(path.read_text(encoding="utf-8"))))
    if "__future__.annotations" not in names:
        return []
    return ["`from __future__ import annotations` breaks Dagster's type resolution"]


def length_problems(path: Path, package: Path) -> list[str]:
    """Files that are too long to read in one sitting."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    return [f"must have at most {MOST_LINES} lines, but has {lines}"] if lines > MOST_LINES else []


RULES = [
    arrow_problems,
    order_problems,
    unknown_library_problems,
    heavy_import_problems,
    annotation_problems,
    length_problems,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_of_the_package_keeps_the_rule(rule):
    problems = [
        f"{path.relative_to(PACKAGE.parent)}: {problem}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for problem in rule(path, PACKAGE)
    ]

    assert problems == []


def test_tests_and_benchmarks_are_short_files_too():
    folders = [PACKAGE.parent / "ai_assets_tests", PACKAGE.parent / "benchmarks"]

    too_long = [
        f"{path.name}: {problem}"
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
        for problem in length_problems(path, folder)
    ]

    assert too_long == []


@pytest.mark.parametrize(
    ("rule", "where", "code", "says"),
    [
        (arrow_problems, "lifecycle/x.py", "from ai_assets.stages import raw", "ai_assets.stages"),
        (arrow_problems, "lifecycle/x.py", "from ai_assets import serving", "ai_assets.serving"),
        (arrow_problems, "resources/x.py", "import ai_assets.stages.raw", "ai_assets.stages.raw"),
        (
            arrow_problems,
            "stages/x.py",
            "def f():\n    from ai_assets.automation import jobs",
            "ai_assets.automation",
        ),
        (
            arrow_problems,
            "serving/x.py",
            "from ai_assets.lifecycle.training import split_rows",
            "ai_assets.lifecycle.training",
        ),
        (arrow_problems, "serving/x.py", "import ai_assets.lifecycle", "ai_assets.lifecycle"),
        (arrow_problems, "cellar/x.py", "", "cellar is not a room"),
        (
            order_problems,
            "lifecycle/sources/x.py",
            "def f():\n    from ai_assets.lifecycle.cleaning.rules import Rule",
            "sources must not import ai_assets.lifecycle.cleaning.rules.Rule",
        ),
        (
            order_problems,
            "lifecycle/sources/x.py",
            "from ai_assets.lifecycle import cleaning",
            "sources must not import ai_assets.lifecycle.cleaning",
        ),
        (unknown_library_problems, "lifecycle/x.py", "def f():\n    import mlflow", "mlflow"),
        (unknown_library_problems, "serving/x.py", "from dagster import asset", "dagster"),
        (heavy_import_problems, "stages/x.py", "import pandas as pd", "pandas"),
        (heavy_import_problems, "stages/x.py", "try:\n    import torch\nexcept E:\n    y", "torch"),
        (heavy_import_problems, "serving/app.py", "import bentoml", "bentoml"),
        (
            annotation_problems,
            "stages/x.py",
            "from __future__ import annotations",
            "type resolution",
        ),
        (length_problems, "stages/x.py", "x = 1\n" * 401, "401"),
    ],
)
def test_a_module_that_breaks_the_rule_is_named(tmp_path, rule, where, code, says):
    module = tmp_path / where
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(code, encoding="utf-8")

    problems = rule(module, tmp_path)

    assert len(problems) == 1
    assert says in problems[0]


@pytest.mark.parametrize(
    ("rule", "where", "code"),
    [
        (arrow_problems, "stages/x.py", "from ai_assets.lifecycle import cleaning"),
        (arrow_problems, "serving/x.py", "from ai_assets.lifecycle.errors import BundleError"),
        (arrow_problems, "journey.py", "from ai_assets.definitions import defs"),
        (
            order_problems,
            "lifecycle/cleaning/x.py",
            "from ai_assets.lifecycle.sources.casts import cast",
        ),
        (order_problems, "stages/sources/x.py", "from ai_assets.lifecycle import cleaning"),
        (heavy_import_problems, "stages/x.py", "def f():\n    import torch"),
        (
            heavy_import_problems,
            "stages/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
        ),
        (heavy_import_problems, "serving/service.py", "import bentoml"),
        (annotation_problems, "lifecycle/x.py", "from __future__ import annotations"),
    ],
)
def test_a_module_that_keeps_the_rule_is_not_named(tmp_path, rule, where, code):
    module = tmp_path / where
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(code, encoding="utf-8")

    assert rule(module, tmp_path) == []


def users_of(library: str, package: Path) -> set[str]:
    """The modules that import a library, wherever in them."""
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(
            name.split(".")[0] == library
            for name in imported_by(ast.parse(path.read_text(encoding="utf-8")))
        )
    }


def test_mlflow_is_known_to_what_tracks_alone_and_dagster_mlflow_to_nobody():
    assert users_of("dagster_mlflow", PACKAGE) == set()
    assert users_of("mlflow", PACKAGE) == {
        "resources/tracking.py",
        "resources/tracking_database.py",
    }


def test_a_module_that_imports_a_library_within_a_function_uses_it(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "x.py").write_text("def f():\n    from mlflow import MlflowClient")
    (tmp_path / "y.py").write_text("import mlflow_skinny")

    assert users_of("mlflow", tmp_path) == {"stages/x.py"}


def heavy_modules_loaded_by(code: str, *, folder: Path, path: Path | None = None) -> set[str]:
    """Run the code in a fresh interpreter and tell which slow libraries it loaded."""
    told = "import sys; print('\\nLOADED ' + ' '.join({m.split('.')[0] for m in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{told}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path or "")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return NOT_ON_LOADING & set(run.stdout.rsplit("LOADED ", 1)[1].split())


def test_loading_the_code_location_loads_no_slow_library(state, tmp_path):
    code = "from ai_assets.definitions import defs; defs().get_repository_def()"

    assert heavy_modules_loaded_by(code, folder=tmp_path, path=PACKAGE.parent) == set()


def test_a_code_location_that_loads_a_slow_library_is_caught(tmp_path):
    (tmp_path / "slow_definitions.py").write_text("import optuna\n", encoding="utf-8")

    assert "optuna" in heavy_modules_loaded_by(
        "import slow_definitions", folder=tmp_path, path=tmp_path
    )


def test_a_stage_that_is_imported_where_it_is_declared_is_caught(tmp_path):
    code = "import ai_assets.stages.declared.data; import ai_assets.stages.raw"

    loaded = heavy_modules_loaded_by(code, folder=tmp_path, path=PACKAGE.parent)

    assert {"numpy", "polars"} <= loaded


def test_rows_with_texts_are_digested_without_a_slow_library(tmp_path):
    code = (
        "import polars as pl\n"
        "from ai_assets.lifecycle.cleaning.identity import Digest\n"
        "Digest().add(pl.DataFrame({'carrier': ['UA', None, 'UA'], 'n': [1, 2, 3]}))"
    )

    assert HEAVY.isdisjoint(heavy_modules_loaded_by(code, folder=tmp_path, path=PACKAGE.parent))
