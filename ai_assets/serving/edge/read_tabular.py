"""Reads rows of features, as `features.sql` makes them: a JSON list of objects."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """The matrix that the model reads: numbers as they are, texts as their place, -1 of unseen."""
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    found = np.empty((len(rows), len(about["columns"])))
    for place, column in enumerate(about["columns"]):
        values = [row.get(column["name"]) for row in rows]
        if column["kind"] == "categorical":
            codes = {text: code for code, text in enumerate(column["categories"])}
            found[:, place] = [codes.get(value, -1) for value in values]
        else:
            found[:, place] = [np.nan if value is None else value for value in values]
    return found
