"""Questions that home owners ask builders, in English and in Swedish.

Swedish Construction FAQ by Zaragoza AB, CC BY 4.0, https://doi.org/10.5281/zenodo.19630803; read
from the files of the package zaragoza-construction-faq.
"""

import json
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import polars as pl

FILES = {"sv": "faq.json", "en": "faq-en.json"}


def questions(start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """Every question in both languages, with its topic."""
    found = find_spec("zaragoza_construction_faq")
    assert found is not None and found.origin is not None, "its package is installed"
    folder = Path(found.origin).parent / "data"
    rows = [
        {"id": q["id"], "language": language, "question": q["q"], "topic": q["category"]}
        for language, name in FILES.items()
        for q in json.loads((folder / name).read_text(encoding="utf-8"))["questions"]
    ]
    return pl.DataFrame(rows)
