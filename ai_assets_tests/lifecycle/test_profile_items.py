"""What is guessed of pictures and texts, and what is said where nothing can be."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.product import ImageDeclaration, TextDeclaration
from ai_assets.lifecycle.profile.declare import Asked, propose
from ai_assets.lifecycle.sources import read_source

KINDS = ("cat", "dog")
TEXTS = ("what does a permit cost today", "my roof leaks since last winter")


def drawn(folder: Path, *, each: int = 20, size: tuple[int, int] = (90, 120)) -> list[str]:
    """Pictures of two kinds, in a subfolder each; their paths."""
    luck, paths = np.random.default_rng(1), []
    for number in range(each * len(KINDS)):
        kind = KINDS[number % len(KINDS)]
        path = f"{kind}/{number}.png"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(luck.integers(0, 255, (*size, 3), dtype=np.uint8)).save(folder / path)
        paths.append(path)
    return paths


def attributes(text: str) -> dict:
    """What is declared."""
    declared: dict = yaml.safe_load(text)["attributes"]
    return declared


def rows_of(folder: Path, text: str) -> pl.DataFrame:
    """The rows as the stage `raw` reads them."""
    declared = ImageDeclaration.model_validate(attributes(text))
    table = declared.tables[declared.request]
    return read_source(table.source, None, table=table, folder=folder).collect()


EXPECTED = """\
# Written from pets: all 40 rows, 2 columns.
# Read with care: 1 of 41 files are no pictures: rejected.
# Comments say why. Yours to add: descriptions, units, and what you know better.
type: ai_assets.components.ImageProduct
attributes:
  description: What is kind of a picture of pets?
  owners: []   # e-mail addresses, or team:<name>
  request: pets
  tables:
    pets:
      description: A picture of pets.
      source: {folder: "FOLDER", label: kind}
      key: [path]   # every file is a row
      max_rejected: 0.04   # see the first lines
      columns:
        image: {type: image, size: [48, 64], channels: 3, nullable: false}   # [height, width] that models see; the pictures are all 90 x 120
        kind: {type: string, allowed: [cat, dog], known_at: "NULL"}   # what is predicted: not known when somebody asks
  label: {task: binary, sql: "kind = 'dog'", positive: dog, negative: cat}   # two values; what is asked for is the rarer one: dog in 50.0% of the rows
  training:
    families: [cnn]   # reads the picture as a whole
    metric: log_loss   # judges the probability, not only the answer
    tune: {trials: 1, folds: 1}   # what a family takes by default; a search is slow
  gate: {min: {roc_auc: 0.55}}   # hardly better than chance is not released; raise it
"""  # noqa: E501


def test_pictures_in_subfolders_are_declared_as_an_engineer_would(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    drawn(folder)
    (folder / "readme.md").write_text("Ours.", encoding="utf-8")

    files = propose(Asked(folder, "kind", kind="image"))

    assert files == {"defs.yaml": EXPECTED.replace("FOLDER", str(folder))}
    rows = rows_of(tmp_path, files["defs.yaml"])
    assert rows["kind"].value_counts(sort=True)["count"].to_list()[:2] == [20, 20]
    assert rows["image"].null_count() == 1  # the file that is no picture


def test_a_table_in_the_folder_tells_what_is_on_the_pictures(tmp_path: Path) -> None:
    paths = drawn(tmp_path / "flat")
    for path in paths:
        (tmp_path / "flat" / path).rename(tmp_path / "flat" / Path(path).name)
    names = [Path(path).name for path in paths]
    table = pl.DataFrame({"photo": names, "age": [i % 3 + 1 for i in range(40)]})
    table = table.with_columns(camera=pl.int_range(40) % 2)
    table.write_csv(tmp_path / "flat" / "told.csv", separator=";")

    text = propose(Asked(tmp_path / "flat", "age", kind="image"))["defs.yaml"]

    source = {"folder": str(tmp_path / "flat"), "index": "told.csv", "delimiter": ";"}
    declared = attributes(text)
    assert declared["tables"]["flat"]["source"] == {**source, "path": "photo"}
    assert declared["tables"]["flat"]["columns"]["camera"]["known_at"] == "NULL"
    assert declared["label"] == {"task": "multiclass", "sql": "age"}
    assert rows_of(tmp_path, text)["image"].null_count() == 0


def test_texts_of_a_table_are_read_whole_and_other_columns_are_not_asked(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": [f"q{i // 2}" for i in range(200)],
            "language": ["en", "sv"] * 100,
            "question": [f"{TEXTS[i // 2 % 2]} number {i}" for i in range(200)],
            "topic": [("price", "damage")[i // 2 % 2] for i in range(200)],
        }
    )
    frame.write_csv(tmp_path / "faq.csv")

    files = propose(Asked(tmp_path / "faq.csv", "topic", kind="text"))

    declared = attributes(files["defs.yaml"])
    TextDeclaration.model_validate(declared)
    columns = declared["tables"]["faq"]["columns"]
    assert columns["question"] == {"type": "text", "tokens": 32, "nullable": False, "max": 500}
    assert columns["language"]["known_at"] == columns["id"]["known_at"] == "NULL"
    assert declared["training"]["families"] == ["probe", "encoder"]
    assert declared["training"]["split"] == {"group": ["id"]}  # a text and its translation
    assert declared["slices"] == ["language"]
    assert list(files) == ["defs.yaml"]


def test_a_folder_of_texts_is_labelled_by_its_subfolders(tmp_path: Path) -> None:
    for number in range(60):
        file = tmp_path / "mail" / ("ham", "spam")[number % 2] / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{TEXTS[number % 2]} {number}", encoding="utf-8")

    text = propose(Asked(tmp_path / "mail", kind="text"))["defs.yaml"]

    assert f'source: {{folder: "{tmp_path}/mail", label: label}}' in text
    assert "text: {type: text, tokens: 32, nullable: false, max: 500}" in text
    assert attributes(text)["label"]["positive"] == "spam"


def test_of_more_texts_than_can_be_fine_tuned_without_a_gpu_the_probe_reads(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": [f"{TEXTS[i % 2]} {i}" for i in range(6_000)]})
    frame.with_columns(y=pl.int_range(6_000) % 2 == 0).write_parquet(tmp_path / "a.parquet")

    text = propose(Asked(tmp_path / "a.parquet", "y", kind="text"))["defs.yaml"]

    assert "families: [probe]   # encoder takes hours on 6,000 texts without a GPU" in text


def _empty(folder: Path) -> Asked:
    (folder / "none").mkdir()
    return Asked(folder / "none", kind="image")


def _no_pictures(folder: Path) -> Asked:
    (folder / "a.txt").write_text("a", encoding="utf-8")
    return Asked(folder, kind="image")


def _one_kind(folder: Path) -> Asked:
    drawn(folder / "pets")
    for file in (folder / "pets" / "dog").iterdir():
        file.unlink()
    return Asked(folder / "pets", kind="image")


def _flat(folder: Path) -> Asked:
    drawn(folder / "pets")
    return Asked(folder / "pets" / "cat", kind="image")


def _damaged(folder: Path) -> Asked:
    for path in drawn(folder / "pets"):
        (folder / "pets" / path).write_bytes(b"\x89PNG damaged")
    return Asked(folder / "pets", kind="image")


def _no_such_table(folder: Path) -> Asked:
    drawn(folder / "pets")
    (folder / "pets" / "told.csv").write_text("path,kind\ncat/0.png,cat\n", encoding="utf-8")
    return Asked(folder / "pets", "kind", table="tolt.csv", kind="image")


def _no_paths(folder: Path) -> Asked:
    drawn(folder / "pets")
    (folder / "pets" / "told.csv").write_text("n,kind\n1,cat\n2,dog\n", encoding="utf-8")
    return Asked(folder / "pets", "kind", table="told.csv", kind="image")


def _no_language(folder: Path) -> Asked:
    (folder / "a.csv").write_text("a,b\n" + "x,y\nz,w\n" * 50, encoding="utf-8")
    return Asked(folder / "a.csv", "b", kind="text")


def _no_target(folder: Path) -> Asked:
    (folder / "a.csv").write_text("a,b\n" + "x,y\nz,w\n" * 50, encoding="utf-8")
    return Asked(folder / "a.csv", kind="text")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (_empty, "must be a folder of pictures (.png, .jpg"),
        (_no_pictures, "none of its 1 files is one"),
        (_one_kind, "must have two or more subfolders"),
        (_flat, "must lie in subfolders named as what is on them, as cat/1.png"),
        (_damaged, "none of the 40 that were opened can: cat/0.png for one"),
        (_no_such_table, "--table must be a CSV or Parquet file in"),
        (_no_paths, "must have a column with the path of each file"),
        (_no_language, "none of the columns looks like language: a, b"),
        (_no_target, "--target must name the column of"),
        (lambda folder: Asked(folder / "none", kind="image"), "does not exist"),
        (
            lambda folder: Asked(folder, key=["a"], kind="image"),
            "--key must go with --kind tabular",
        ),
        (lambda folder: Asked(folder, text="a", kind="image"), "--text must go with --kind text"),
        (lambda folder: Asked(folder), "--target must be given"),
    ],
)
def test_a_wrong_start_with_pictures_or_texts_is_told_in_words(tmp_path: Path, start, says) -> None:
    with pytest.raises(DataError) as raised:
        propose(start(tmp_path))

    assert says in str(raised.value)
