"""Materialize what is missing or stale in this process, and tell a waiting person how far it is."""

import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph, BaseAssetNode
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

Written = Mapping[dg.AssetKey, float]
_SECONDS_BETWEEN_LOOKS = 0.5
# As deep as a step's chain of assets may be; an asset that is never fresh ends here too.
_MOST_PASSES = 20
_SHOWN = {
    dg.DagsterEventType.STEP_START: "…",
    dg.DagsterEventType.STEP_SUCCESS: "✓",
    dg.DagsterEventType.STEP_FAILURE: "✗",
}


@dataclass(frozen=True)
class Step:
    """Stages of a product to materialize: for one partition, for a range of them, or whole.

    Attributes:
        words: What is done, for people.
        product: Its name.
        stages: The stages.
        first: The first partition; None of a product without partitions.
        last: The last one.
    """

    words: str
    product: str
    stages: tuple[str, ...]
    first: str | None = None
    last: str | None = None

    @property
    def is_range(self) -> bool:
        return self.first != self.last

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags, where it is a range."""
        if not self.is_range or self.first is None or self.last is None:
            return {}
        return {
            "dagster/asset_partition_range_start": self.first,
            "dagster/asset_partition_range_end": self.last,
        }


def materialize(
    defs: dg.Definitions, instance: dg.DagsterInstance, step: Step, written: Written | None = None
) -> bool:
    """Materialize the step's assets that are not fresh; True if all went well.

    An asset whose upstream was made anew with other content becomes stale only then, so what is not
    fresh is asked again until all of it is.

    Args:
        defs: the definitions.
        instance: the history.
        step: what to make.
        written: when the files that assets read last changed, by asset, in seconds since 1970.
    """
    # Of a file from the future what reads it would never be fresh.
    written = {key: min(at, time.time()) for key, at in (written or {}).items()}
    keys = unfresh(defs, instance, step, written)
    if not keys:
        print("      nothing to do: all of it is fresh", flush=True)
    for _ in range(_MOST_PASSES):
        if not keys:
            break
        if not _run(defs, instance, step, keys):
            return False
        keys = unfresh(defs, instance, step, written)
    return True


def _run(
    defs: dg.Definitions, instance: dg.DagsterInstance, step: Step, keys: list[dg.AssetKey]
) -> bool:
    run_id = str(uuid.uuid4())
    # Dagster refuses a partition for assets without any, where products are cut differently.
    graph = defs.resolve_asset_graph()
    is_cut = any(graph.get(key).partitions_def is not None for key in keys)
    with _progress(instance, run_id):
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            run_id=run_id,
            asset_selection=keys,
            tags=step.tags,
            partition_key=step.first if is_cut and not step.is_range else None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    if not result.success:
        print(failure_words(instance, run_id), flush=True)
    return bool(result.success)


def unfresh(
    defs: dg.Definitions, instance: dg.DagsterInstance, step: Step, written: Written | None = None
) -> list[dg.AssetKey]:
    """The step's assets that are missing, stale or older than their files in any partition."""
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    chosen = []
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if node.group_name != step.product or node.tags.get("stage") not in step.stages:
            continue
        partitions: list[str | None] = [None]
        if isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition):
            assert step.first is not None and step.last is not None, step.words
            span = dg.PartitionKeyRange(step.first, step.last)
            partitions = list(node.partitions_def.get_partition_keys_in_range(span))
        stale = any(resolver.get_status(key, p) != StaleStatus.FRESH for p in partitions)
        at = (written or {}).get(key)
        stale = stale or (at is not None and _is_older(instance, key, partitions, at))
        if stale or (partitions == [None] and _overtaken(instance, graph, node, step.last)):
            chosen.append(key)
    return chosen


def _is_older(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: list[str | None], moment: float
) -> bool:
    """Whether the run that made the asset last began before a moment, in any of the partitions.

    It may not have read what was written after it began.
    """
    asked = dg.AssetRecordsFilter(asset_key=key)
    if partitions != [None]:
        made, cut = dg.DagsterEventType.ASSET_MATERIALIZATION, {str(one) for one in partitions}
        newest = instance.event_log_storage.get_latest_storage_id_by_partition(key, made, cut)
        if not newest:
            return False
        asked = dg.AssetRecordsFilter(asset_key=key, storage_ids=[min(newest.values())])
    records = instance.fetch_materializations(asked, limit=1).records
    if not records:
        return False
    run = instance.get_run_record_by_id(records[0].run_id)
    began = run.start_time if run is not None else None
    return (began or records[0].timestamp) < moment


def _overtaken(
    instance: dg.DagsterInstance, graph: BaseAssetGraph, node: BaseAssetNode, partition: str | None
) -> bool:
    """Whether an unpartitioned asset is older than a partitioned one that it reads.

    Dagster's own status does not look across from an unpartitioned asset into partitions.
    """
    own = instance.get_latest_materialization_event(node.key)
    if own is None:
        return True
    for parent in node.parent_keys:
        if graph.get(parent).partitions_def is None or partition is None:
            continue
        newest = dg.AssetRecordsFilter(asset_key=parent, asset_partitions=[partition])
        records = instance.fetch_materializations(newest, limit=1).records
        if records and records[0].timestamp > own.timestamp:
            return True
    return False


def failure_words(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed: the message of each failed step and of each check that stopped it."""
    # Of a range each partition's finding is told, and their sum in the same words.
    lines: dict[str, None] = {}
    for record in instance.all_logs(run_id):
        event = record.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error if error else None
            lines[f"      {event.step_key}: {cause.message.strip() if cause else 'failed'}"] = None
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            stops = check.blocking and check.severity == dg.AssetCheckSeverity.ERROR
            if stops and not check.passed:
                name = f"{check.asset_key.to_user_string()}: {check.check_name}"
                lines[f"      {name}: {check.description or 'did not pass'}"] = None
    return "\n".join(lines)


@contextmanager
def _progress(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Print each step of a run as it starts and ends, while the block runs."""
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(instance, run_id, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(instance: dg.DagsterInstance, run_id: str, done: threading.Event) -> None:
    started: dict[str, float] = {}
    cursor, last_look = None, False
    while not last_look:
        last_look = done.wait(_SECONDS_BETWEEN_LOOKS)
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=set(_SHOWN))
        cursor = page.cursor
        for record in page.records:
            _show(record.event_log_entry, started)


def _show(entry: dg.EventLogEntry, started: dict[str, float]) -> None:
    event = entry.dagster_event
    if event is None or event.step_key is None:
        return
    name = event.step_key.replace("__", "/")
    if event.event_type == dg.DagsterEventType.STEP_START:
        started[name] = entry.timestamp
        if sys.stdout.isatty():
            print(f"      … {name}", end="\r", flush=True)
        return
    seconds = entry.timestamp - started.get(name, time.time())
    print(f"      {_SHOWN[event.event_type]} {name:<44}{seconds:6.1f} s", flush=True)
