"""What the closed loop was worth: a replay of 2013 against never and always retraining.

Runs `make replay` where there is no finished one (or with `--fresh`), then reads what it left: the
realised log loss from April to December, how near the estimates before labels were, and its time.
"""

import json
import os
import sys
from pathlib import Path

import polars as pl
from figures import Figure, report
from flights import product

from ai_assets import replay
from ai_assets.lifecycle.estimation.quality import EstimateQuality, estimate_quality
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import default_resources
from ai_assets.resources.lake import Lake
from ai_assets.serving.place import state_root
from ai_assets.stages.binding import StageRun, Tools
from ai_assets.stages.operations import told_by_metric

MOST_MINUTES, AIM = 25, 0.03
ALIKE = 1e-6
"""Answers of one and the same model in two sessions differ by less; that is not better."""


def replayed(fresh: bool) -> Path:
    """The state of a finished replay."""
    home = state_root() / "replay" / "as_it_was"
    if (fresh or not (home / replay.TIMES).is_file()) and replay.main(["--fresh"]):
        raise SystemExit("The replay failed.")
    os.environ["AI_ASSETS_HOME"] = str(home)
    return home


def against_policies() -> list[Figure]:
    """The loop's realised log loss beside each other policy's."""
    folder = Lake().artifact(AssetName(replay.PRODUCT, "operations"), None)
    table = pl.read_csv(folder / "policies.csv")
    loop = table.row(by_predicate=pl.col("policy") == "loop", named=True)
    made = []
    for row in table.filter(pl.col("policy") != "loop").iter_rows(named=True):
        gap = f"{row['difference']:+.4f} ({row['difference_low']:+.4f} to "
        gap += f"{row['difference_high']:+.4f})"
        made.append(
            Figure(
                f"realised log loss, April to December, against {row['policy']}",
                f"{loop['log_loss']:.4f}",
                f"{row['log_loss']:.4f}",
                loop["log_loss"] / row["log_loss"],
                f"below (is {gap})",
                row["difference"] < -ALIKE,
            )
        )
    return made


def estimates() -> list[Figure]:
    """How near the estimates without labels were."""
    resources = default_resources()
    tools = Tools(**{n: r for n, r in resources.items() if n in Tools.__annotations__})
    told = told_by_metric(StageRun(product(), None, tools))
    return [_estimate(estimate_quality(metric, rows)) for metric, rows in told.items()]


def _estimate(found: EstimateQuality) -> Figure:
    return Figure(
        f"estimate of {found.metric} before labels, mean absolute error",
        f"{found.error:.4f}",
        f"{found.carried_error:.4f}, last value carried forward",
        None,
        "closer" + (f", aim {AIM}" if found.metric == "roc_auc" else ""),
        found.better,
    )


def time_taken(home: Path) -> Figure:
    """How long the replay took, and on what."""
    told = json.loads((home / replay.TIMES).read_text(encoding="utf-8"))
    minutes = told.pop("seconds") / 60
    runs, starting = told.pop("runs"), told.pop("starting")
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in told.items())
    print(f"The replay took {minutes:.1f} min: {parts}; {starting:.0f} s to start {runs} runs.")
    return Figure(
        "a full replay", f"{minutes:.1f} min", "", None, f"< {MOST_MINUTES} min",
        minutes < MOST_MINUTES,
    )  # fmt: skip


def main() -> int:
    home = replayed("--fresh" in sys.argv)
    return report([*against_policies(), *estimates(), time_taken(home)])


if __name__ == "__main__":
    sys.exit(main())
