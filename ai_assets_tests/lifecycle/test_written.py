"""When the files of a source last changed."""

import os
import time
from pathlib import Path

import pytest

from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.sources.written import last_written

LONG_AGO = 1_000_000_000


def write(file: Path, age: float = 0.0) -> float:
    """A file whose content is so old; when it was put there."""
    file.write_text("a\n1\n", encoding="utf-8")
    os.utime(file, (time.time() - age,) * 2)
    return file.stat().st_ctime


def test_a_file_is_as_new_as_its_content_or_as_its_place_whichever_is_newer(tmp_path: Path) -> None:
    put = write(tmp_path / "a.csv", age=LONG_AGO)
    assert last_written(Source(csv="a.csv"), tmp_path) == put

    later = time.time() + 100
    os.utime(tmp_path / "a.csv", (later, later))
    assert last_written(Source(csv=str(tmp_path / "a.csv")), Path("/")) == pytest.approx(later)


def test_of_a_pattern_or_template_the_newest_file_counts(tmp_path: Path) -> None:
    write(tmp_path / "2025-01.csv")
    later = time.time() + 100
    (tmp_path / "2025-02.csv").touch()
    os.utime(tmp_path / "2025-02.csv", (later, later))

    for place in ("*.csv", "{start:%Y-%m}.csv", "{partition}.csv"):
        assert last_written(Source(csv=place), tmp_path) == pytest.approx(later)


def test_a_template_in_a_folder_with_brackets_is_found(tmp_path: Path) -> None:
    (folder := tmp_path / "[1]").mkdir()
    put = write(folder / "2025-01.csv", age=LONG_AGO)

    assert last_written(Source(csv="{partition}.csv"), folder) == put


def test_a_link_that_leads_nowhere_does_not_count(tmp_path: Path) -> None:
    put = write(tmp_path / "a.csv", age=LONG_AGO)
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone")

    assert last_written(Source(csv="*.csv"), tmp_path) == put
    assert last_written(Source(csv="b.csv"), tmp_path) is None


@pytest.mark.parametrize(
    "source",
    [
        {"csv": "s3://bucket/a.csv"},
        {"csv": "gone.csv"},
        {"csv": "$NOT_SET_ANYWHERE/a.csv"},
        {"csv": "~nobody_of_this_name/a.csv"},
        {"csv": f"{'n' * 300}.csv"},
        {"http": {"url": "https://example.org/a.csv"}},
    ],
    ids=str,
)
def test_of_what_is_no_local_file_it_is_not_known(tmp_path: Path, source: dict) -> None:
    assert last_written(Source.model_validate(source), tmp_path) is None
