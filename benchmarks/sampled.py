"""flight_delay on a sample of its flights, as a project of its own: a copy with a smaller source.

A user who wanted less data would write just this: a `source.py` that gives fewer rows, and less to
train in `defs.yaml`. Code and daemon read the copy as they would read the original, so nothing in
them knows of samples.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = Path("ai_assets", "products", "flight_delay")
BESIDE = ("bentofile.yaml", "dagster.yaml", "pyproject.toml", "workspace.yaml", "LICENSE")
# A hash of the key decides: the same flights in each replay, whatever the span that is asked for.
SAMPLED = '''

from ai_assets.lifecycle.cleaning.identity import row_hashes

_EVERY, _KEY = {every}, {key}
_all_flights = flights


def flights(start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """One flight in {every}."""
    rows = _all_flights(start, end).collect()
    return rows.filter(pl.Series(row_hashes(rows, _KEY) % _EVERY == 0)).lazy()
'''


def project(folder: Path, every: int) -> Path:
    """Copy the project into a folder, with one in `every` flights and little to train."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BESIDE:
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ai_assets", folder / "ai_assets", ignore=ignored)
    product = folder / PRODUCT
    declared = yaml.safe_load((product / "defs.yaml").read_text(encoding="utf-8"))
    key = declared["attributes"]["tables"]["flights"]["key"]
    with (product / "source.py").open("a", encoding="utf-8") as source:
        source.write(SAMPLED.format(every=every, key=key))
    lighten(declared["attributes"])
    text = yaml.safe_dump(declared, sort_keys=False, allow_unicode=True)
    (product / "defs.yaml").write_text(text, encoding="utf-8")
    return folder


def lighten(attributes: dict[str, Any]) -> None:
    """The quickest family with one trial, and limits that some thousand rows can meet.

    Kills are many, so a retraining may be tried anew more often than once.
    """
    training = attributes["training"]
    training["families"] = ["linear"]
    training["tune"] = {"trials": 1, "folds": 1, "refresh": 12}
    training["ignore_features"] = {"linear": training["ignore_features"]["linear"]}
    attributes["gate"] = {
        "min": {"roc_auc": 0.5},
        "max": {"log_loss": 0.69},
        "champion": {"margin": -0.01},
    }
    attributes["retrain"]["retries"] = 5
