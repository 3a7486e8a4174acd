"""Fitting flight_delay's families in lanes against one after the other, on the whole year.

Both sides fit the same rows for the same rounds, with the declared threads, in turns; medians of
three. The graphs of the models must be the same, byte for byte.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from statistics import median

import polars as pl
from figures import Figure, report
from flights import MONTHS, labelled_months, product

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.training.fitting import fit_family_again
from ai_assets.lifecycle.training.lanes import fit_in_lanes
from ai_assets.lifecycle.training.spec import Training
from ai_assets.lifecycle.training.whole import NOT_FEATURES

Fit = Callable[[str, Training], Model]
ROUNDS = {"linear": 1, "lightgbm": 400, "mlp": 5}
TIMES, GOAL = 3, 1.3


def year() -> Dataset:
    """All labelled flights of the year as a matrix."""
    rows = pl.concat([labelled_months()[month] for month in MONTHS])
    encoding = Encoding.fit(rows.drop(NOT_FEATURES, strict=False))
    return Dataset(encoding.transform(rows), rows["label"].to_numpy(), None, encoding)


def fitted(data: Dataset, family: str, training: Training) -> Model:
    params = get_family(family).defaults()
    return fit_family_again(family, data, params, ROUNDS[family], training=training, task="binary")


def one_by_one(families: list[str], fit: Fit, training: Training, data: Dataset) -> list[Model]:
    return [fit(name, training) for name in families]


def main() -> int:
    data, training, families = year(), product().declaration.training, list(ROUNDS)
    fit = partial(fitted, data)
    ways: dict[str, Callable[[list[str], Fit, Training, Dataset], list[Model]]]
    ways = {"ours": fit_in_lanes, "other": one_by_one}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    made = {}
    for _ in range(TIMES):
        for name, way in ways.items():
            started = time.perf_counter()
            models = way(families, fit, training, data)
            seconds[name].append(time.perf_counter() - started)
            made[name] = sha256(b"".join(model.to_onnx() for model in models)).hexdigest()
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    ours, other = (median(seconds[name]) for name in ways)
    same = made["ours"] == made["other"]
    return report(
        [
            Figure(
                f"{', '.join(families)} on {len(data):,} rows, {training.threads} threads",
                f"{ours:.1f} s", f"{other:.1f} s, one after the other", other / ours,
                f">= {GOAL}x", other / ours >= GOAL,
            ),
            Figure(
                "the models", made["ours"][:12], made["other"][:12], None, "the same bytes", same
            ),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
