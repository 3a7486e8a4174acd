"""The life of a product over a folder of pictures, from its files to a served bundle."""

from pathlib import Path

import pytest
import yaml
from PIL import Image
from small_product import World, finding

NAME = "drawn_digits"
DECLARATION = {
    "description": "Which digit is drawn?",
    "owners": ["team:forms"],
    "request": "digits",
    "tables": {
        "digits": {
            "source": {"folder": "digits", "label": "digit"},
            "key": ["path"],
            "max_rejected": 0.02,
            "columns": {
                "image": {"type": "image", "size": [8, 8], "nullable": False},
                "digit": {"type": "int64", "allowed": [0, 1, 2], "known_at": "NULL"},
            },
        }
    },
    "label": {"task": "multiclass", "sql": "digit"},
    "training": {"families": ["linear"], "tune": {"trials": 1, "folds": 1}, "threads": 1},
    "gate": {"min": {"accuracy": 0.8}},
}


def write_product(folder: Path) -> Path:
    """Scikit-learn's digits 0 to 2 as files, one of them twice, and one file that is no picture."""
    from sklearn.datasets import load_digits

    pictures, digits = load_digits(n_class=3, return_X_y=True)
    for number, (picture, digit) in enumerate(zip(pictures, digits, strict=True)):
        kind = "png" if number % 2 else "jpg"
        path = folder / "digits" / str(digit) / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shades = (picture.reshape(8, 8) * (255 / 16)).astype("uint8")
        Image.fromarray(shades).save(path, quality=95)
    with Image.open(folder / "digits" / "0" / "0.jpg") as first:
        first.save(folder / "digits" / "0" / "copy.png")
    (folder / "digits" / "readme.md").write_text("Drawn by many.")
    content = {"type": "ai_assets.components.ImageProduct", "attributes": DECLARATION}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = write_product(tmp_path_factory.mktemp("folder") / NAME)
    world = World.of(folder, tmp_path_factory.mktemp("world"))
    world.runs["all"] = world.run()
    return world


def test_files_go_through_the_whole_graph(world: World) -> None:
    raw, cleaned = world.rows("raw/digits"), world.rows("cleaned/digits")
    assert (raw.height, cleaned.height) == (539, 537)
    assert world.rows("rejected/digits").select("path", "_rule").rows() == [
        ("readme.md", "image: its file has not the suffix of its kind"),
        ("0/copy.png", "image is a near-duplicate of path 0/0.jpg"),
    ]
    told = world.metadata("cleaned/digits")
    assert (told["rejected"], told["near_duplicates"]) == (2, 1)
    # A copy breaks no rule: it does not count against `max_rejected`.
    share = "1 of 539 rows (0.19%) were rejected; at most 2.00% may be."
    assert finding(world.runs["all"], "few_rows_rejected") == (True, share)
    labels = world.rows("labels").join(cleaned, on="_row_id")
    assert (labels["label"] == labels["digit"]).all()
    assert finding(world.runs["all"], "every_row_accounted_for")[0]
    assert world.rows("predictions").height == 537


def test_a_caller_sends_the_picture_and_no_path(world: World) -> None:
    (stable,) = world.tools.ledger.history(NAME)["stable"]
    bundle = world.tools.bundles.load(stable)
    assert list(bundle.request.table.columns) == ["image"]
    assert bundle.request.table.key == []
    assert bundle.tables["digits"].key == ["path"]


def test_a_changed_file_is_a_new_version_of_all_that_follows(world: World) -> None:
    before = {asset: world.version(asset) for asset in ("raw/digits", "cleaned/digits")}
    world.run("raw/digits", "cleaned/digits")
    assert {asset: world.version(asset) for asset in before} == before
    changed = world.product.folder / "digits" / "0" / "0.jpg"
    changed.write_bytes((changed.parent / "10.jpg").read_bytes())
    world.run("raw/digits", "cleaned/digits")
    assert all(world.version(asset) != version for asset, version in before.items())
