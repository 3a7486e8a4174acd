"""The loop against other policies, on the same rows, day by day."""

from collections.abc import Sequence

import polars as pl

from ai_assets.lifecycle.evaluation.bootstrap import Estimate, bootstrap, paired_difference
from ai_assets.lifecycle.evaluation.metrics import scored_for
from ai_assets.lifecycle.schema.scores import scores_in

LOOP = "loop"
_INTERVALS = {
    "low": pl.Float64,
    "high": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}


def compare_policies(
    rows: pl.DataFrame,
    policies: Sequence[str],
    *,
    seed: int,
    resamples: int = 400,
    metric: str = "log_loss",
) -> pl.DataFrame:
    """The realised loss of the loop and of each other policy.

    Args:
        rows: `label`, `event_time`, `loop` and a column of scores for each policy.
        policies: names of those columns.
        seed: of the bootstrap, which draws whole days.
        resamples: how many times days are drawn.
        metric: the loss, which is small where a policy is good.

    Returns:
        A row a policy, the loop first: `policy`, `rows`, the loss by the metric's name with its
        interval `low` to `high`, and `difference`: the loop's loss minus the policy's, below 0
        where the loop is better, with its interval.
    """
    y, days = rows["label"].to_numpy(), rows["event_time"].dt.epoch("d").to_numpy()
    loop = scores_in(rows[LOOP])
    table = []
    for name in (LOOP, *policies):
        p = scores_in(rows[name])
        own = bootstrap(
            scored_for(metric, y, p), (metric,), seed=seed, resamples=resamples, blocks=days
        )
        against = Estimate(None)
        if name != LOOP:
            against = paired_difference(
                y, loop, p, metric, seed=seed, resamples=resamples, blocks=days
            )
        value = own[metric]
        found = [value.value, value.low, value.high, against.value, against.low, against.high]
        table.append([name, rows.height, *found])
    schema = {"policy": pl.String, "rows": pl.Int64, metric: pl.Float64, **_INTERVALS}
    return pl.DataFrame(table, schema=schema, orient="row")


def monthly_losses(
    rows: pl.DataFrame, policies: Sequence[str], *, seed: int, metric: str = "log_loss"
) -> pl.DataFrame:
    """The loss of each policy in each partition.

    Args:
        rows: as `compare_policies`, with `partition`.
        policies: names of the columns.
        seed: of the bootstrap.
        metric: the loss.

    Returns:
        A row a partition and policy: `partition`, `policy`, the loss by the metric's name, `low`,
        `high`.
    """
    table = []
    for (partition,), group in rows.group_by("partition", maintain_order=True):
        y = group["label"].to_numpy()
        days = group["event_time"].dt.epoch("d").to_numpy()
        for name in (LOOP, *policies):
            scored = scored_for(metric, y, scores_in(group[name]))
            found = bootstrap(scored, (metric,), seed=seed, blocks=days)[metric]
            table.append([partition, name, found.value, found.low, found.high])
    columns = ["partition", "policy", metric, "low", "high"]
    return pl.DataFrame(table, schema=columns, orient="row")
