"""How far estimates of performance before labels are off, month by month of flight_delay.

A model of January to March is kept for the rest of the year. When a month ends, labels of the month
before are known: beliefs are learned from those, and ROC-AUC, log loss and Brier score of the month
are estimated from its scores alone. The other side is what one would say otherwise: the last
realised value carried forward. Both are compared with what the labels told, May to December.
"""

import sys

import numpy as np
import polars as pl
from figures import Figure, report
from flights import MONTHS, labelled_months

from ai_assets.lifecycle.estimation.confidence import belief, estimated, realised
from ai_assets.lifecycle.estimation.quality import EstimateQuality, Told, estimate_quality, widened
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.training.calibration import fit_calibration

NOT_FEATURES = ("_row_id", "label", "event_time", "known_at")
LEARNED, TRAIN_SHARE = 3, 0.8
GOALS = {"roc_auc": 0.03, "log_loss": None, "brier": None}
Scores = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> int:
    """Measure; 1 if a goal is missed."""
    months = scored_months()
    qualities = [quality(name, months) for name in GOALS]
    for found in qualities:
        print(f"{found} Worst {found.worst:.4f}; {found.within:.0%} of realised values inside.")
    return report([figure(found, GOALS[found.metric]) for found in qualities])


def scored_months() -> Scores:
    """Labels and scores of each month after those learned from, by partition key."""
    from lightgbm import LGBMClassifier

    months = labelled_months()
    rows = pl.concat([months[key] for key in MONTHS[:LEARNED]]).sort("event_time", "_row_id")
    cut = int(rows.height * TRAIN_SHARE)
    train, later = rows.head(cut), rows.tail(rows.height - cut)
    encoding = Encoding.fit(train.drop(NOT_FEATURES))
    model = LGBMClassifier(n_estimators=200, verbose=-1, random_state=1, n_jobs=2)
    model.fit(encoding.transform(train), train["label"].to_numpy())

    def raw(month: pl.DataFrame) -> np.ndarray:
        return model.predict_proba(encoding.transform(month))[:, 1]

    calibration = fit_calibration("isotonic", raw(later), later["label"].to_numpy())
    return {
        key: (months[key]["label"].to_numpy(), calibration.apply(raw(months[key])))
        for key in MONTHS[LEARNED:]
    }


def quality(metric: str, months: Scores) -> EstimateQuality:
    """The metric's estimates of every month but the first, beside what its labels told."""
    told: list[Told] = []
    before = None
    for key, (y, p) in months.items():
        kept = realised(y, p, seed=1, names=(metric,))[metric]
        q = belief(p, before[1], before[0]) if before else p
        chance = estimated(p, q, seed=1, names=(metric,))[metric]
        told.append(Told(key, widened(metric, chance, told), kept))
        before = (y, p)
    return estimate_quality(metric, told)


def figure(found: EstimateQuality, most: float | None) -> Figure:
    """Mean absolute errors of both sides."""
    assert found.error is not None and found.carried_error is not None
    goal = "< carried forward" if most is None else f"<= {most:g}, < carried forward"
    return Figure(
        f"mean error of the estimated {found.metric}, {found.partitions} months",
        f"{found.error:.4f}",
        f"{found.carried_error:.4f}",
        found.error / found.carried_error,
        goal,
        found.better and (most is None or found.error <= most),
    )


if __name__ == "__main__":
    sys.exit(main())
