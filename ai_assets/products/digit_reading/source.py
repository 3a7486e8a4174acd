"""Handwritten digits: the test part of the UCI set that scikit-learn carries (CC BY 4.0).

1,797 pictures of 8 x 8 pixels by 13 writers, from 0 (paper) to 16 (ink); E. Alpaydin and
C. Kaynak, Optical Recognition of Handwritten Digits, https://doi.org/10.24432/C50P49.
"""

import gzip
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import polars as pl

SIDE = 8


def digits(start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """Every picture, rows of rows of numbers, with the digit that was meant."""
    found = find_spec("sklearn")
    assert found is not None and found.origin is not None, "scikit-learn is installed"
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file) as opened:
        numbers = pl.read_csv(opened.read(), has_header=False).to_numpy().astype(int)
    pictures = numbers[:, :-1].reshape(-1, SIDE, SIDE)
    return pl.DataFrame({"image": pictures.tolist(), "digit": numbers[:, -1]})
