"""What lies in a bundle that the graph built: these files and no others."""

from pathlib import Path

from small_product import FEBRUARY, World

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    "__init__.py",
    "lifecycle/__init__.py",
    "lifecycle/errors.py",
    "lifecycle/naming.py",
    "lifecycle/schema",
    "lifecycle/features",
    "serving",
)
PAYLOAD = {
    "LICENSE",
    "background.json",
    "calibration.json",
    "data_versions.json",
    "decision.json",
    "encoding.json",
    "features.sql",
    "lookups/shops.parquet",
    "manifest.json",
    "model.onnx",
    "model_card.md",
    "monitoring.json",
    "online.json",
    "plan.json",
    "reference.json",
    "request.json",
    "sbom.cdx.json",
    "signature.json",
    "tables.json",
    "window.json",
}
BY_BENTOML = {
    "README.md",
    "apis/openapi.yaml",
    "apis/schema.json",
    "bento.yaml",
    "env/docker/Dockerfile",
    "env/docker/entrypoint.sh",
    "env/python/requirements.in",
    "env/python/requirements.txt",
    "src/bentofile.yaml",
}


def files(folder: Path) -> set[str]:
    """Paths of all files below a folder, relative to it; what Python compiled is left out."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def code() -> set[str]:
    """The files of the package that a server needs, relative to the package."""
    package = ROOT / "ai_assets"
    of_folders = {f"{part}/{file}" for part in CODE for file in files(package / part)}
    return of_folders | {part for part in CODE if (package / part).is_file()}


def test_a_built_bundle_holds_these_files_and_no_others(shared_world: World) -> None:
    bundle = shared_world.tools.bundles.path(shared_world.metadata("bundle", FEBRUARY)["tag"])

    held = files(bundle)

    of_source = {file.removeprefix("src/") for file in held if file.startswith("src/")}
    assert {f.removeprefix("product/") for f in of_source if f.startswith("product/")} == PAYLOAD
    assert {f.removeprefix("ai_assets/") for f in of_source if f.startswith("ai_assets/")} == code()
    rest = {f for f in held if not f.startswith(("src/product/", "src/ai_assets/"))}
    assert rest == BY_BENTOML
    # None of these rooms is among the parts of the package above.
    assert not {
        f for f in code() if f.startswith(("stages", "components", "resources", "products"))
    }
    assert not {f for f in held if f.endswith((".csv", ".pkl")) or "/sources/" in f}
