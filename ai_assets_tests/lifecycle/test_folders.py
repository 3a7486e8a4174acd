"""A folder of files as a table's source: what is read, what is refused, and what is told of it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from ai_assets.lifecycle.cleaning import check_columns, clean
from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.partitions import Partitions, Span
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import folder as folders
from ai_assets.lifecycle.sources import read_source

PHOTO = {"type": "image", "size": [4, 4], "nullable": False}
DIGIT = {"type": "int64", "nullable": False}
NOTE = {"type": "text", "nullable": False}
BY_FOLDER = {"folder": "digits", "label": "digit"}
BY_TABLE = {"folder": "scans", "index": "labels.csv", "path": "file"}


def picture(shade: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((4, 4), shade, dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def write(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def declare(source: dict[str, Any], columns: dict[str, Any], **more: Any) -> Table:
    return Table.model_validate({"source": source, "columns": columns, **more})


def read(folder: Path, table: Table, span: Span | None = None) -> pl.LazyFrame:
    rows = read_source(table.source, span, table=table, folder=folder)
    check_columns(rows, table, "things")
    return rows


def rejected(folder: Path, table: Table) -> dict[str, str]:
    found = clean(read(folder, table), table).rejected.collect()
    return dict(zip(found[table.source.path], found["_rule"], strict=True))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    files = {"7/a.png": picture(70), "0/deep/b.JPG": picture(10, "JPEG"), "7/.c.png": b"hidden"}
    write(tmp_path / "digits", **files, **{"Thumbs.db": b"left behind"})
    return tmp_path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write(tmp_path / "scans", **{"a.png": picture(1), "in/b.png": picture(2), "c.png": picture(3)})
    table = "file,digit\nin\\b.png,2\na.png,1\nmissing.png,3\n../digits/7/a.png,4\n,5\n"
    (tmp_path / "scans" / "labels.csv").write_text(table)
    return tmp_path


def test_the_subfolder_is_the_label_and_the_path_finds_the_file_again(digits: Path) -> None:
    table = declare(BY_FOLDER, {"image": PHOTO, "digit": DIGIT})
    found = clean(read(digits, table), table)
    good = found.good.collect()
    assert good.select("path", "digit").rows() == [("0/deep/b.JPG", 0), ("7/a.png", 7)]
    assert good["image"][1] == bytes([70]) * 16
    assert abs(good["image"][0][5] - 10) <= 1  # JPEG is near, not exact
    assert (found.counts.raw, found.counts.rejected) == (2, 0)
    assert table.late_columns == {"path": "NULL"}


def test_texts_are_read_in_the_declared_encoding(tmp_path: Path) -> None:
    files = {
        "hot/a.txt": b"\xef\xbb\xbfK\xc3\xb6ln ist warm",
        "b.txt": b"",
        "cold/c.txt": b"K\xf6ln",
    }
    write(tmp_path / "notes", **files)
    source = {"folder": "notes", "label": "topic"}
    columns = {"note": NOTE, "topic": {"type": "string"}}
    table = declare(source, columns)
    good = clean(read(tmp_path, table), table).good.collect()
    assert good.select("path", "note", "topic").rows() == [("hot/a.txt", "Köln ist warm", "hot")]
    assert rejected(tmp_path, table) == {
        "b.txt": "note is missing",
        "cold/c.txt": "note: its file is not text in the declared encoding",
    }
    latin = declare({**source, "encoding": "latin-1"}, columns)
    assert "Köln" in clean(read(tmp_path, latin), latin).good.collect()["note"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_names_the_files_and_what_it_names_in_vain_is_rejected(
    scans: Path, suffix: str
) -> None:
    if suffix == "parquet":
        pl.read_csv(scans / "scans/labels.csv").write_parquet(scans / "scans/labels.parquet")
    source = {**BY_TABLE, "index": f"labels.{suffix}"}
    table = declare(source, {"image": PHOTO, "digit": DIGIT})
    found = clean(read(scans, table), table)
    good = found.good.collect()
    assert good.select("file", "digit").rows() == [("in\\b.png", 2), ("a.png", 1)]
    assert good["image"].to_list() == [bytes([2]) * 16, bytes([1]) * 16]
    assert rejected(scans, table) == {
        "missing.png": "image: its file does not exist",
        "../digits/7/a.png": "image: its path leads out of the folder",
        None: "image: no file is named",
    }
    assert found.counts.by_rule["image: its file does not exist"] == 1


def test_what_is_no_picture_is_rejected_and_says_why(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (digits / "secret.png").write_bytes(picture(9))
    inside = digits / "digits"
    (inside / "7" / "out.png").symlink_to(digits / "secret.png")
    (inside / "7" / "in.png").symlink_to(inside / "7" / "a.png")
    (inside / "7" / "round.png").symlink_to(inside / "7" / "round.png")
    (inside / "1").symlink_to(digits)
    write(inside, **{"7/notes.md": b"x", "7/broken.png": b"\x89PNG", "7/big.png": b"x" * 2000})
    monkeypatch.setattr(folders, "MOST_BYTES", 1999)
    table = declare(BY_FOLDER, {"image": PHOTO, "digit": {"type": "int64"}})

    assert rejected(digits, table) == {
        "1": "image: its file is a link that leads out of the folder",
        "7/big.png": "image: its file is larger than 64 MB",
        "7/broken.png": "image cannot be read as a picture",
        "7/notes.md": "image: its file has not the suffix of its kind",
        "7/out.png": "image: its file is a link that leads out of the folder",
        "7/round.png": "image: its file cannot be opened",
    }
    good = clean(read(digits, table), table).good.collect()
    assert good["path"].to_list() == ["0/deep/b.JPG", "7/a.png", "7/in.png"]


def test_a_changed_byte_changes_the_digest_and_the_same_bytes_do_not(digits: Path) -> None:
    table = declare(BY_FOLDER, {"image": PHOTO, "digit": DIGIT})

    def version() -> str:
        digest = Digest()
        digest.add(read(digits, table).collect())
        return digest.hexdigest()

    first = version()
    assert version() == first
    (digits / "digits/7/a.png").write_bytes(picture(71))
    assert version() != first


def test_files_come_in_batches_and_only_those_that_are_asked_for(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str | None] = []
    real = folders._Files.read
    spy = lambda self, path: (opened.append(path), real(self, path))[1]  # noqa: E731
    monkeypatch.setattr(folders._Files, "read", spy)
    monkeypatch.setattr(folders, "BATCH_BYTES", 1)
    monkeypatch.setattr(folders, "_READERS", 1)
    lines = ["file,digit,at", "a.png,1,2024-01-31", "c.png,2,2024-02-01", "in/b.png,3,2024-02-02"]
    (scans / "scans/labels.csv").write_text("\n".join(lines))
    columns = {"image": PHOTO, "digit": DIGIT, "at": {"type": "datetime"}}
    table = declare(BY_TABLE, columns, time="at")
    months = Partitions.model_validate({"every": "month", "start": "2024-01-01"})

    february = read(scans, table, months.span("2024-02-01"))
    assert february.select(pl.len()).collect().item() == 2
    assert opened == []
    batches = february.collect_batches(chunk_size=None, maintain_order=True)
    assert [batch["digit"].to_list() for batch in batches] == [["2"], ["3"]]
    assert opened == ["c.png", "in/b.png"]
    assert read(scans, table).head(1).collect()["file"].to_list() == ["a.png"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"folder": "digit"}, "'.*digit' does not exist. Did you mean 'digits'?"),
        ({"folder": "digits/7/a.png"}, "must be a folder, but '.*a.png' is a file"),
        ({"folder": "s3://bucket/x"}, "must be a folder of this machine"),
        ({"folder": "none"}, "at least one file of .png, .*: it is empty"),
        ({"folder": "other"}, "at least one file of .png, .*: none of its 1 files is one"),
        ({"folder": "scans", "index": "label.csv"}, "no 'label.csv'. Did you mean 'labels.csv'?"),
        ({**BY_TABLE, "path": "fil"}, "source.path must name .*'fil'. Did you mean 'file'?"),
        ({"folder": "own", "index": "x.csv"}, "must leave the column 'image' to the files"),
    ],
)
def test_a_folder_that_cannot_be_one_is_told(
    digits: Path, scans: Path, source: dict[str, str], words: str
) -> None:
    (digits / "none").mkdir()
    write(digits, **{"other/readme.md": b"x", "own/x.csv": b"path,image\na.png,b\n"})
    table = declare(source, {"image": PHOTO})
    with pytest.raises(DataError, match=words):
        read(digits, table)


@pytest.mark.parametrize(
    ("source", "columns", "words"),
    [
        ({"folder": "x"}, {"n": DIGIT}, "one column of type 'image', or else .* but got none"),
        ({"folder": "x"}, {"a": PHOTO, "b": PHOTO}, r"but got \['a', 'b'\]"),
        ({"folder": "x", "label": "digt"}, {"image": PHOTO, "digit": DIGIT}, "source.label .*Did"),
        ({"csv": "x.csv", "label": "n"}, {"n": DIGIT}, "source.label belongs to source.folder"),
        ({"folder": "x", "label": "n", "index": "y.csv"}, {"i": PHOTO, "n": DIGIT}, "without sou"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(
    source: dict[str, str], columns: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        declare(source, columns)
    assert declare({"folder": "x"}, {"note": NOTE, "image": PHOTO}).item_of_files == "image"


def test_the_path_may_be_the_key_and_a_declaration_survives_its_own_dump(digits: Path) -> None:
    table = declare(BY_FOLDER, {"image": PHOTO, "digit": DIGIT}, key=["path"])
    good = clean(read(digits, table), table).good.collect()
    (digits / "digits/7/a.png").write_bytes(picture(99))
    again = clean(read(digits, table), table).good.collect()
    assert good["_row_id"].to_list() == again["_row_id"].to_list()
    assert Table.model_validate(table.model_dump()) == table
    assert Table(source=table.source, columns=table.columns, key=["path"]) == table
    plain = declare({"csv": "x.csv"}, {"n": DIGIT})
    assert Table.model_validate(plain.model_dump()) == plain
