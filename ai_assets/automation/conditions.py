"""When an asset is made without anybody asking: new data goes all the way to the verdict.

Learning is not among these: it is asked for by a recorded decision (`retraining`). Every condition
that starts work demands that upstream blocking checks passed: a blocking check alone stops only the
run that it fails in, and the next tick would go on behind it.
"""

from functools import cache

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
    if stage.stage in ("raw", "served", "feedback"):
        return new_partition() if stage.partitioned and product.partitions else None
    if stage.stage == "online":
        return newest_rows(product)
    if stage.stage == "served_drift":
        return follows(())
    if stage.stage in FOLLOWING:
        waits_for_none = ("release", "served", "feedback")
        return follows(tuple(dg.AssetKey(product.asset(name).key) for name in waits_for_none))
    return None


@cache
def new_partition() -> dg.AutomationCondition:
    """Read the source when a partition has just ended; those before are filled by hand."""
    return dg.AutomationCondition.on_missing().with_label("a_partition_has_ended")


@cache
def follows(ignored: tuple[dg.AssetKey, ...]) -> dg.AutomationCondition:
    """Follow what is upstream, whatever the partition: a month made anew is followed as well.

    Not the release: what was in production when a partition began does not change with the next
    one, so predictions do not wait for it and are not made anew. Nor the server's log: a product
    that is not served has none.
    """
    eager = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())
    passed = dg.AutomationCondition.all_deps_blocking_checks_passed()
    sound = passed & ~dg.AutomationCondition.any_deps_match(failed())
    apart = dg.AssetSelection.assets(*ignored)
    return (eager & sound).ignore(apart).with_label("upstream_is_new_and_sound")


def newest_rows(product: Product) -> dg.AutomationCondition:
    """Let the server's tables follow new rows, unless those that they would hold are broken.

    Older partitions may be missing or have failed: the tables do not reach back to them.
    """
    moved = dg.AutomationCondition.any_deps_updated().since_last_handled()
    busy = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    wrong = failed()
    if product.partitions is not None:
        back = (1 + product.reach) * product.partitions.longest
        wrong = wrong & dg.AutomationCondition.in_latest_time_window(lookback_delta=back)
    broken = dg.AutomationCondition.any_deps_match(wrong)
    return (moved & ~busy & ~broken).with_label("newer_rows_are_there_and_sound")


def failed() -> dg.AutomationCondition:
    """A blocking check of the partition has failed, and it is not about to be made anew.

    Dagster's `all_deps_blocking_checks_passed` is content with one partition of a window, so that
    an earlier one that passed would let the one that failed through.
    """
    last = dg.AutomationCondition.check_failed() & ~dg.AutomationCondition.will_be_requested()
    return dg.AutomationCondition.any_checks_match(last, blocking_only=True)
