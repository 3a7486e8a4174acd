"""People of two teams and two ages, which features hint at; outcomes are rarer in one of each."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.training.reductions import reduced
from ai_assets.lifecycle.training.spec import Training

TRAINING = Training(threads=1, calibration="sigmoid")
COLUMNS = ("team", "older")
LIMIT = 0.1
Drawn = tuple[pl.DataFrame, np.ndarray, np.ndarray]


def people(rows: int, seed: int, *, biased: bool = True, telling: float = 0.9) -> Drawn:
    """Features, groups [n, 2] and labels; club and hat tell a group in `telling` of all cases."""
    luck = np.random.default_rng(seed)
    groups = luck.integers(0, 2, (rows, 2))
    skill = luck.normal(0, 1, rows)
    hints = np.where(luck.random((rows, 2)) < telling, groups, 1 - groups).astype(float)
    worth = skill + luck.logistic(0, 0.6, rows) - biased * (groups @ [1.4, 1.0])
    frame = pl.DataFrame({"skill": skill, "club": hints[:, 0], "hat": hints[:, 1]})
    return frame, groups, (worth > -0.2).astype(float)


def declared(metric: str, *columns: str, **more: object) -> Fairness:
    given = {"columns": list(columns), "metric": metric, "max_difference": LIMIT}
    return Fairness.model_validate(given | {"mitigation": "reductions"} | more)


def dataset(drawn: Drawn, spec: Fairness | None) -> Dataset:
    frame, groups, y = drawn
    encoding = Encoding.fit(frame)
    own = None
    if spec is not None:
        own = Protected(groups[:, [COLUMNS.index(name) for name in spec.columns]], spec)
    return Dataset(encoding.transform(frame), y, None, encoding, protected=own)


def few(
    rows: int, share: float, seed: int = 1, *, push: float = 1.4, telling: float = 1.0
) -> Drawn:
    """People of whom a share is of team 1, which the club names in `telling` of all cases."""
    luck = np.random.default_rng(seed)
    team = (luck.random(rows) < share).astype(np.int64)
    skill = luck.normal(0, 1, rows)
    club = np.where(luck.random(rows) < telling, team, 1 - team).astype(float)
    worth = skill + luck.logistic(0, 0.6, rows) - push * team
    return pl.DataFrame({"skill": skill, "club": club}), team[:, None], (worth > -0.2).astype(float)


def searched(data: Dataset, training: Training = TRAINING) -> tuple[np.ndarray, np.ndarray]:
    """The labels that rows teach [n] and their weights [n]."""
    assert data.protected is not None
    return reduced(data, data.protected, training)
