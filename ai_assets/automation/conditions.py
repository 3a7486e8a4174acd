"""When an asset is made without anybody asking: new data goes all the way to the verdict.

Learning is not among these: it is asked for by a recorded decision (`retraining`). Every condition
that starts work demands that upstream blocking checks passed: a blocking check alone stops only the
run that it fails in, and the next tick would go on behind it.
"""

import dagster as dg

from ai_assets.lifecycle.product import Product
from ai_assets.stages.binding import Stage

FOLLOWING = frozenset(
    {
        "cleaned",
        "rejected",
        "labels",
        "features",
        "predictions",
        "drift",
        "drift_report",
        "performance",
        "verdict",
    }
)


def condition(product: Product, stage: Stage) -> dg.AutomationCondition | None:
    """The condition of one stage of a product; None for what is made on demand only."""
    if stage.stage == "raw":
        return new_partition() if stage.partitioned and product.partitions else None
    if stage.stage == "online":
        return newest_rows()
    if stage.stage in FOLLOWING:
        return follows(dg.AssetKey(product.asset("release").key))
    return None


def new_partition() -> dg.AutomationCondition:
    """Read the source when a partition has just ended; those before are filled by hand."""
    return dg.AutomationCondition.on_missing().with_label("a_partition_has_ended")


def follows(release: dg.AssetKey) -> dg.AutomationCondition:
    """Follow what is upstream, whatever the partition: a month made anew is followed as well.

    Not the release: what was in production when a partition began does not change with the next
    one, so predictions do not wait for it and are not made anew.
    """
    eager = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
    sound = dg.AutomationCondition.all_deps_blocking_checks_passed()
    released = dg.AssetSelection.assets(release)
    return (eager & sound).ignore(released).with_label("upstream_is_new_and_sound")


def newest_rows() -> dg.AutomationCondition:
    """Let the server's tables follow the newest partition; older ones may be missing."""
    moved = dg.AutomationCondition.any_deps_updated().since_last_handled()
    busy = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    sound = dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.newly_updated() & _failed()
    )
    return (moved & ~busy & ~sound).with_label("newer_rows_are_there")


def _failed() -> dg.AutomationCondition:
    return dg.AutomationCondition.any_checks_match(
        dg.AutomationCondition.check_failed(), blocking_only=True
    )
