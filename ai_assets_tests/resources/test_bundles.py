"""The bundle store: one Bento for each content, with only what serving needs."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from ai_assets.lifecycle.errors import BundleError
from ai_assets.resources.bundles import BundleStore, bentofile, project_root, stage_context
from ai_assets.resources.sbom import closure, sbom
from ai_assets.serving.protocols import sockets

FORBIDDEN = {"dagster", "mlflow", "torch", "evidently", "scikit-learn", "optuna", "pandas"}


def test_the_bundles_packages_are_pinned_to_what_is_tested_here():
    for text in BundleStore().requirements():
        requirement = Requirement(text)
        assert str(requirement.specifier) == f"=={importlib.metadata.version(requirement.name)}"


def test_the_bundle_installs_no_training_and_no_orchestration():
    assert not FORBIDDEN & set(closure(BundleStore().requirements()))


def test_the_bundle_installs_what_uvicorn_is_quick_with_and_speaks_websockets_by():
    """Here other packages bring them; without them a served bundle has no WebSocket at /stream."""
    names = {Requirement(text).name for text in BundleStore().requirements()}

    assert {"httptools", "uvloop", sockets._PACKAGE} <= names


def test_the_context_holds_serving_and_its_part_of_lifecycle_only(tmp_path: Path):
    payload = tmp_path / "payload"
    payload.mkdir()
    (payload / "model.onnx").write_bytes(b"")

    stage_context(project_root(), payload, tmp_path / "context")

    files = [p.relative_to(tmp_path / "context") for p in (tmp_path / "context").rglob("*.*")]
    rooms = {p.parts[1] for p in files if p.parts[0] == "ai_assets"}
    assert rooms == {"__init__.py", "lifecycle", "serving"}
    inside = {p.parts[2] for p in files if p.parts[:2] == ("ai_assets", "lifecycle")}
    assert inside == {"__init__.py", "errors.py", "naming.py", "features", "schema"}
    assert Path("product/model.onnx") in files
    assert not any("__pycache__" in p.parts for p in files)


def test_the_included_files_import_nothing_that_is_left_out(tmp_path: Path):
    (tmp_path / "payload").mkdir()
    stage_context(project_root(), tmp_path / "payload", tmp_path / "context")
    modules = [
        ".".join(p.relative_to(tmp_path / "context").with_suffix("").parts)
        for p in sorted((tmp_path / "context").rglob("*.py"))
        if p.name not in ("__init__.py", "__main__.py", "service.py")
    ]
    code = f"import importlib, ai_assets; print(ai_assets.__file__)\nfor name in {modules!r}:\n"
    code += "    importlib.import_module(name)"

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "context",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(str(tmp_path / "context"))


def test_an_unknown_tag_is_refused_with_the_nearest(state: Path):
    place = state / "bentoml" / "bentos" / "trips" / "2013-04-01-abc"
    place.mkdir(parents=True)
    (place / "bento.yaml").write_text("")

    with pytest.raises(BundleError, match="Did you mean 'trips:2013-04-01-abc'"):
        BundleStore().path("trips:2013-04-01-abd")
    assert BundleStore().list() == BundleStore().tags("trips") == ["trips:2013-04-01-abc"]


@pytest.mark.parametrize("tag", ["trips", "../x:1", "trips:../1", "trips:"])
def test_a_tag_of_another_form_is_refused(state: Path, tag: str):
    with pytest.raises(BundleError, match="<product>:<version>"):
        BundleStore().path(tag)


def test_the_sbom_names_every_package_with_version_and_depends_on_no_clock():
    requirements = BundleStore().requirements()

    text = sbom(requirements, "trips", "1")

    assert text == sbom(requirements, "trips", "1")
    document = yaml.safe_load(text)
    assert document["bomFormat"] == "CycloneDX"
    named = {c["name"]: c["version"] for c in document["components"]}
    assert named["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert set(named) == set(closure(requirements))
    licensed = [c for c in document["components"] if c.get("licenses")]
    assert len(licensed) > 0.9 * len(named)


def test_the_bentofile_names_the_generic_service():
    content = bentofile(project_root())

    assert content["service"] == "ai_assets.serving.service:Service"
    assert content["python"]["lock_packages"] is False


@pytest.mark.slow
def test_a_plain_build_ends_with_the_command_to_use(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", str(project_root())],
        cwd=project_root(),
        env={"PATH": "", "HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path),
             "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "dagster asset materialize" in done.stdout + done.stderr
