"""A product that is judged by groups of people, whose features only hint at them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from small_product import World

ROWS = 4_000
LIFE = (
    "raw/people", "cleaned/people", "labels", "features", "training_set", "tuning",
    "model/linear", "model", "compressed_model", "evaluation", "model_card", "bundle", "gate",
)  # fmt: skip
SQL = "SELECT r._row_id, r.skill, r.club, r.years FROM request AS r\n"


def hired(folder: Path, *, biased: bool) -> None:
    """People of two teams; where biased, those of team b were hired less often at equal skill.

    The club gives the team away in nine cases of ten, so a model learns the bias without the team.
    """
    luck = np.random.default_rng(11)
    team = luck.choice(["a", "b"], ROWS)
    skill = luck.normal(0, 1, ROWS).round(3)
    worth = 1.5 * skill + luck.logistic(0, 0.5, ROWS) - 1.6 * ((team == "b") & biased)
    other = luck.random(ROWS) < 0.1
    pl.DataFrame(
        {
            "number": range(ROWS),
            "skill": skill,
            "club": np.where((team == "a") != other, "chess", "rowing"),
            "years": luck.integers(0, 30, ROWS),
            "team": team,
            "hired": worth > 0.3,
        }
    ).write_csv(folder / "people.csv")


def write(
    folder: Path,
    *,
    biased: bool,
    split: dict[str, Any] | None = None,
    ignored: Sequence[str] = (),
    training: Mapping[str, Any] | None = None,
    **fairness: Any,
) -> Path:
    declared = {
        "description": "Is this person hired?",
        "request": "people",
        "tables": {
            "people": {
                "source": {"csv": "people.csv"},
                "key": ["number"],
                "columns": {
                    "number": {"type": "int64", "example": 1},
                    "skill": {"type": "float64", "example": 0.5},
                    "club": {"type": "string", "example": "chess"},
                    "years": {"type": "int64", "example": 3},
                    "team": {"type": "string", "known_at": "NULL"},
                    "hired": {"type": "bool", "known_at": "NULL"},
                },
            }
        },
        "label": {"sql": "hired", "positive": "hired"},
        "training": {
            "families": ["linear"],
            "tune": {"trials": 1, "folds": 1},
            "split": {"test": 0.3} if split is None else split,
            "threads": 1,
            "ignore_features": list(ignored),
            **(training or {}),
        },
        "fairness": {"columns": ["team"], "metric": "demographic_parity", **fairness},
    }
    folder.mkdir(parents=True)
    content = {"type": "ai_assets.components.TabularProduct", "attributes": declared}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "features.sql").write_text(SQL, encoding="utf-8")
    hired(folder, biased=biased)
    return folder


def lived(folder: Path, *, biased: bool, **declared: Any) -> World:
    world = World.of(write(folder / "hiring", biased=biased, **declared), folder / "home")
    world.runs["life"] = world.run(*LIFE, raises=False)
    return world
