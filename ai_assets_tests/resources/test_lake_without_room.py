"""A disk that takes no more bytes is told with the file's name, and nothing of it is read."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

NAME = AssetName("shop", "raw/orders")
# A limit of the process is a disk of that size: a write beyond it fails as it does on a full one.
WRITER = """
import resource, signal, sys
import numpy as np, polars as pl
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
rows = pl.DataFrame({"_row_id": np.random.default_rng(0).integers(0, 2**62, int(sys.argv[2]))})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Lake(root=sys.argv[1]).replace(AssetName("shop", "raw/orders"), rows, "2013-01-01")
except OSError as error:
    print(error.errno, error.strerror, error.filename)
"""


@pytest.mark.parametrize("rows", [4_000, 400_000])
def test_the_file_is_named_and_the_old_rows_stay(tmp_path: Path, rows: int) -> None:
    lake = Lake(root=str(tmp_path))
    before = pl.DataFrame({"_row_id": [1, 2]})
    lake.replace(NAME, before, "2013-01-01")

    command = [sys.executable, "-c", WRITER, str(tmp_path), str(rows)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    if rows == 4_000:  # there is room for these
        assert said == ""
        assert lake.scan(NAME).collect().height == rows
        return
    folder = f"{tmp_path}/shop/raw/orders/_partition=2013-01-01/"
    assert said.startswith(f"27 File too large {folder}")
    assert said.strip().endswith(".parquet")
    assert lake.scan(NAME).collect().equals(before)
