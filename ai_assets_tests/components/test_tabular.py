"""The tabular component: from a YAML file to assets, and mistakes by file and line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from ai_assets.components import TabularProduct
from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.product import TabularDeclaration, read_product
from ai_assets.stages import stages_of


@pytest.fixture
def project(repo_root: Path, tmp_path: Path) -> Path:
    """A copy of what `dg check yaml` reads of the project."""
    shutil.copy(repo_root / "pyproject.toml", tmp_path)
    (tmp_path / "ai_assets").mkdir()
    shutil.copy(repo_root / "ai_assets" / "__init__.py", tmp_path / "ai_assets")
    shutil.copytree(repo_root / "ai_assets" / "products", tmp_path / "ai_assets" / "products")
    return tmp_path


def check_yaml(project: Path) -> subprocess.CompletedProcess[str]:
    tools = Path(sys.executable).parent
    return subprocess.run(
        [str(tools / "dg"), "check", "yaml", "ai_assets/products/flight_delay"],
        cwd=project,
        env=os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_shipped_products_pass_the_check_of_their_yaml(project: Path) -> None:
    done = check_yaml(project)

    assert done.returncode == 0, done.stdout + done.stderr


def test_make_checks_every_product_though_several_are_of_one_kind(
    project: Path, repo_root: Path
) -> None:
    for name in ("flight_delay", "telco_churn"):
        file = project / "ai_assets" / "products" / name / "defs.yaml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("\n  features:", "\n  featurs:"), encoding="utf-8")
    (project / ".env").touch()
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    make = ["make", "--old-file=setup", f"--file={repo_root / 'Makefile'}", "check-yaml"]

    done = subprocess.run(make, cwd=project, capture_output=True, text=True, timeout=240)

    said = done.stdout + done.stderr
    assert done.returncode != 0
    for name, wrong in [("flight_delay", 1), ("question_topic", 0), ("telco_churn", 1)]:
        told = said.split(f"ai_assets/products/{name}/defs.yaml\n")[1]
        told = told.split("\nai_assets/products/")[0]
        assert ("'featurs' was unexpected" in told) == bool(wrong), name


def test_an_unknown_field_and_a_wrong_value_are_found_by_file_and_line(project: Path) -> None:
    file = project / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(
        text.replace("  horizon: 2 hours", "  horizn: 2 hours").replace(
            "    window: 12", "    window: three"
        ),
        encoding="utf-8",
    )
    lines = file.read_text(encoding="utf-8").split("\n")

    done = check_yaml(project)

    said = done.stdout + done.stderr
    assert done.returncode != 0
    horizon, window = (1 + lines.index(x) for x in ("  horizn: 2 hours", "    window: three"))
    assert f"defs.yaml:{horizon} - " in said and "'horizn' was unexpected" in said
    assert f"defs.yaml:{window} - " in said
    assert "attributes.training.window 'three' is not of type 'integer'" in said


def test_mistakes_in_how_a_product_is_rolled_out_are_found_by_line(project: Path) -> None:
    file = project / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    text = file.read_text(encoding="utf-8").rstrip("\n") + (
        "\n  rollout:\n    mode: canry\n    steps: [0.1, 5]\n    limits: {error_rates: 0.1}\n"
    )
    file.write_text(text, encoding="utf-8")
    lines = text.split("\n")

    done = check_yaml(project)

    said = done.stdout + done.stderr
    assert done.returncode != 0
    mode, limits = lines.index("    mode: canry") + 1, lines.index("    limits: {error_rates: 0.1}")
    assert f"defs.yaml:{mode} - " in said and "'canry' is not one of ['direct', 'canary'" in said
    assert f"defs.yaml:{mode + 1} - " in said and "5 is greater than the maximum of 1" in said
    assert f"defs.yaml:{limits + 1} - " in said and "'error_rates' was unexpected" in said


def test_a_parameter_out_of_its_range_is_found_by_line(project: Path) -> None:
    file = project / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    given = "    window: 12\n    parameters:\n      mlp: {width: 64}\n      linear: {c: 0}"
    text = file.read_text(encoding="utf-8").replace("    window: 12", given)
    file.write_text(text, encoding="utf-8")

    done = check_yaml(project)

    said = done.stdout + done.stderr
    assert done.returncode != 0
    line = text.split("\n").index("      linear: {c: 0}") + 1
    assert f"defs.yaml:{line} - " in said
    assert "training.parameters.linear.c 0 is less than or equal to the minimum of 0" in said
    assert "training.parameters.mlp" not in said


@pytest.fixture
def attributes(repo_root: Path) -> dict[str, Any]:
    """What the shipped product declares."""
    file = repo_root / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content["attributes"]


def built(attributes: dict[str, Any], folder: Path) -> dg.Definitions:
    """What the component makes of a declaration in a folder."""
    context: Any = SimpleNamespace(path=folder)
    model = TabularDeclaration.model_validate(attributes)
    return TabularProduct.load(model, context).build_defs(context)


def test_an_unknown_field_is_told_with_the_nearest_known_one(attributes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'horizn' is not a field here. Did you mean 'horizon'"):
        TabularDeclaration.model_validate(attributes | {"horizn": "2 hours"})


def test_classes_are_the_declared_ones_or_the_allowed_values_of_the_column(
    attributes: dict[str, Any],
) -> None:
    def answers(**label: Any) -> tuple[str, ...]:
        several = attributes | {"label": {"task": "multiclass", **label}}
        return TabularDeclaration.model_validate(several).answers

    assert answers(sql="origin") == ("EWR", "JFK", "LGA")
    assert answers(sql="minute // 20", classes=[0, 1, 2.0, True]) == ("0", "1", "2", "true")
    assert TabularDeclaration.model_validate(attributes).answers == ("not late", "late")


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ({"task": "multiclass", "sql": "dest"}, "label.classes must name the classes"),
        (
            {"task": "multiclass", "classes": ["a", "b", "a"]},
            "two or more different words.*'a' twice",
        ),
        ({"task": "multiclass", "classes": ["a"]}, "two or more different words, but got"),
        ({"task": "binary", "classes": ["a", "b"]}, "classes belong to task 'multiclass'"),
        ({"task": "multiclass", "positive": "x"}, "positive belongs to task 'binary'"),
        ({"task": "multiclas"}, "'binary', 'multiclass' or 'regression'"),
        ({"task": "regression", "positive": "x"}, "positive belongs to task 'binary'"),
        ({"task": "regression", "classes": ["a", "b"]}, "classes belongs to task 'multiclass'"),
        ({"task": "regression", "interval": 1.0}, "interval"),
        ({"interval": 0.9}, "interval belongs to task 'regression', but task is 'binary'"),
    ],
)
def test_a_label_that_cannot_be_is_told(
    attributes: dict[str, Any], label: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        TabularDeclaration.model_validate(attributes | {"label": {"sql": "dest", **label}})


REGRESSION = {"task": "regression", "sql": "arr_delay"}


def test_a_regression_is_judged_by_its_error(attributes: dict[str, Any]) -> None:
    declared = TabularDeclaration.model_validate(
        attributes | {"label": REGRESSION, "training": {}, "gate": {"max": {"rmse": 20}}}
    )
    assert (declared.answers, declared.classes) == ((), ())
    assert declared.gate.champion is not None and declared.gate.champion.metric == "rmse"
    assert declared.training.metric_for("regression") == "rmse"
    assert declared.number_of(12.5) == 12.5
    assert declared.number_of("late") is None
    alone = attributes | {"label": REGRESSION, "training": {}, "gate": {"champion": None}}
    assert TabularDeclaration.model_validate(alone).gate.champion is None


@pytest.mark.parametrize(
    ("label", "changes", "says"),
    [
        (REGRESSION, {"gate": {"min": {"roc_auc": 0.6}}}, "gate of a regression task must be"),
        (REGRESSION, {"gate": {"min": {"coverage": 0.8}}}, "gate of a regression task must be"),
        (REGRESSION, {"gate": {"champion": {"metric": "log_loss"}}}, "gate.champion.metric of a"),
        (REGRESSION, {"gate": {}, "training": {"calibration": "sigmoid"}}, "calibration of a regr"),
        (REGRESSION, {"gate": {}, "training": {"metric": "log_loss"}}, "metric of a regression"),
        (REGRESSION, {"gate": {}, "rollout": {"mode": "bandit"}}, "rollout.mode of a regression"),
        (
            REGRESSION,
            {"gate": {}, "rollout": {"limits": {"realised_loss": 0.1}}},
            "rollout.limits.realised_loss is of log loss",
        ),
        ({"sql": "late"}, {"gate": {"max": {"rmse": 3}}}, "gate of a binary task must be"),
    ],
)
def test_what_does_not_suit_the_task_is_told(
    attributes: dict[str, Any], label: dict[str, Any], changes: dict[str, Any], says: str
) -> None:
    plain = {"label": label, "training": {}, "gate": {}}
    with pytest.raises(ValueError, match=says):
        TabularDeclaration.model_validate(attributes | plain | changes)


def test_an_interval_of_a_regression_may_be_limited(attributes: dict[str, Any]) -> None:
    label = REGRESSION | {"interval": 0.9}
    gate = {"min": {"coverage": 0.8}, "max": {"pinball_loss": 4}}
    declared = TabularDeclaration.model_validate(
        attributes | {"label": label, "gate": gate, "training": {}}
    )
    assert declared.gate.min == {"coverage": 0.8}


def test_classes_may_be_bare_numbers_in_yaml(project: Path) -> None:
    file = project / "ai_assets" / "products" / "flight_delay" / "defs.yaml"
    text = file.read_text(encoding="utf-8")
    line = next(line for line in text.split("\n") if line.strip().startswith("label:"))
    several = '  label: {sql: "minute // 20", task: multiclass, classes: [0, 1, 2]}'
    file.write_text(text.replace(line, several), encoding="utf-8")

    done = check_yaml(project)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_folder_gives_the_product_its_name(
    attributes: dict[str, Any], repo_root: Path, tmp_path: Path
) -> None:
    shipped = repo_root / "ai_assets" / "products" / "flight_delay"
    folder = shutil.copytree(shipped, tmp_path / "late_flights")

    keys = {spec.key.to_user_string() for spec in _specs(built(attributes, folder))}

    assert {"late_flights/raw/flights", "late_flights/model/mlp", "late_flights/drift"} <= keys
    assert {key.split("/")[0] for key in keys} == {"late_flights"}


@pytest.mark.parametrize(
    ("horizon", "trials", "known", "searched"),
    [
        ("2 hours", 20, "is given: 2 hours before the event.", "family: 20 trials each,"),
        ("0 seconds", 1, "is given: at the time of the event.", "family: 1 trial each,"),
    ],
)
def test_descriptions_say_when_and_how_often_in_words(
    attributes: dict[str, Any],
    repo_root: Path,
    horizon: str,
    trials: int,
    known: str,
    searched: str,
) -> None:
    folder = repo_root / "ai_assets" / "products" / "flight_delay"
    training = attributes["training"] | {"tune": {"trials": trials}}
    defs = built(attributes | {"horizon": horizon, "training": training}, folder)

    told = {spec.key.path[-1]: spec.description or "" for spec in _specs(defs)}

    assert told["features"] == f"What is known of each request row when the answer {known}"
    assert searched in told["tuning"]


@pytest.mark.parametrize("name", ["telco_churn", "digit_reading", "question_topic"])
def test_a_product_without_partitions_speaks_of_none(name: str, repo_root: Path) -> None:
    product = read_product(repo_root / "ai_assets" / "products" / name)
    stages = {stage.asset: stage for stage in stages_of(product)}
    told = {stage.description for stage in stages.values()} | {
        guard.description for stage in stages.values() for guard in stage.guards
    }
    # A release names the partition that it rolls back to, of products that have any.
    told.remove(stages["release"].description)

    assert not [words for words in told if "partition" in words or "ahead in time" in words]
    assert stages["predictions"].description == "Each request row scored by what is in production."
    assert "does best on rows held out, and why." in stages["model"].description
    assert stages["tuning"].description.endswith("judged on folds of the train rows.")


def test_a_query_that_is_not_there_is_told_while_loading(
    attributes: dict[str, Any], repo_root: Path
) -> None:
    shipped = repo_root / "ai_assets" / "products" / "flight_delay"

    with pytest.raises(DeclarationError) as error:
        built(attributes | {"features": "feature.sql"}, shipped)

    assert str(error.value) == (
        "features must name a file in the folder of 'flight_delay', but got 'feature.sql'. "
        "Did you mean 'features.sql'?"
    )


def _specs(defs: dg.Definitions) -> list[dg.AssetSpec]:
    return [
        spec
        for assets in defs.assets or []
        if isinstance(assets, dg.AssetsDefinition)
        for spec in assets.specs
    ]


def test_the_schema_that_editors_read_describes_every_field() -> None:
    schema = TabularDeclaration.model_json_schema()

    for name, field in schema["properties"].items():
        assert field.get("description") or "$ref" in field, name
    for name, section in schema["$defs"].items():
        for field_name, field in section.get("properties", {}).items():
            assert field.get("description") or "$ref" in field, f"{name}.{field_name}"
