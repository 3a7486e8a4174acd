"""Rows that are written and digested at the same time."""

from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta
from ai_assets.resources.lake import Lake
from ai_assets.resources.replacement import ROWS_WORTH_A_THREAD

NAME = AssetName("shop", "raw/orders")
MANY = pl.DataFrame({"n": range(ROWS_WORTH_A_THREAD + 7)}).with_columns(t=pl.col("n").cast(str))


@pytest.mark.parametrize("rows", [MANY, MANY.head(7)], ids=["many", "few"])
def test_many_rows_and_few_are_stored_and_digested_alike(tmp_path: Path, rows: pl.DataFrame):
    lake, digest = Lake(root=str(tmp_path)), Digest()
    digest.add(rows)

    written = lake.replace(NAME, iter([rows, rows.head(0)]), "2013-01-01")

    assert (written.rows, written.digest) == (rows.height, digest.hexdigest())
    assert lake.scan(NAME).collect().equals(rows)


@pytest.mark.parametrize("failing", [(delta.DataFiles, "write"), (Digest, "add")])
def test_neither_may_fail(tmp_path: Path, monkeypatch, failing):
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(*failing, full)
    lake = Lake(root=str(tmp_path))

    with pytest.raises(OSError, match="No space left"):
        lake.replace(NAME, MANY, "2013-01-01")
    assert not lake.exists(NAME)


def test_the_threads_that_write_and_digest_have_no_frame_in_common(tmp_path: Path, monkeypatch):
    """polars locks a frame in both, once with Python's lock in hand: one frame would be a trap."""
    seen: dict[str, object] = {}
    write, add = delta.DataFiles.write, Digest.add
    monkeypatch.setattr(
        delta.DataFiles, "write", lambda *a: (seen.update(written=a[2]._df), write(*a))[1]
    )
    monkeypatch.setattr(Digest, "add", lambda *a: (seen.update(digested=a[1]._df), add(*a))[1])

    Lake(root=str(tmp_path)).replace(NAME, MANY, "2013-01-01")

    assert set(seen) == {"written", "digested"}
    assert seen["written"] is not seen["digested"]
