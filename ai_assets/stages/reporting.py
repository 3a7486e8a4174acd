"""What a stage did, told to Dagster: a result of the step; of a range, events a partition too."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.data_version import compute_logical_data_version

if TYPE_CHECKING:
    from ai_assets.stages.binding import Finding, Guard, Outcome

DATA_VERSION_TAG = "dagster/data_version"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def report(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    guards: Sequence["Guard"],
    outcomes: Mapping[str | None, "Outcome"],
    version: str | None,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Report the outcomes: metadata and findings a partition, one result for the step.

    Args:
        context: of the step.
        key: the asset.
        guards: its checks.
        outcomes: what was done, by partition.
        version: the data version of all of them together, if each has one.
    """
    several = len(outcomes) > 1
    if several or _range_of_one(context):
        with _together(context):
            for partition, outcome in outcomes.items():
                if several:
                    context.add_asset_metadata(dict(outcome.metadata), key, partition)
                for event in _partition_findings(guards, key, str(partition), outcome):
                    context.log_event(event)
    yield dg.MaterializeResult(
        asset_key=key,
        metadata={} if several else dict(next(iter(outcomes.values())).metadata),
        data_version=dg.DataVersion(version) if version else None,
        check_results=[_summary(guard, outcomes) for guard in guards],
    )
    if several and version:
        own = list(_own_versions(context, key, outcomes))
        with _together(context):
            for materialization in own:
                context.log_event(materialization)


def report_done(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    guards: Sequence["Guard"],
    outcomes: Mapping[str | None, "Outcome"],
) -> None:
    """Report what was done for the first partitions of a range whose next one fails.

    They are made, whatever becomes of the others: a backfill need not ask for them again. A result
    of the step would say so of all.
    """
    with _together(context):
        for partition, outcome in outcomes.items():
            for event in _partition_findings(guards, key, str(partition), outcome):
                context.log_event(event)
            tags = _provenance(context, key, outcome.data_version)
            context.log_event(_materialization(key, str(partition), outcome, tags))


def _materialization(
    key: dg.AssetKey, partition: str, outcome: "Outcome", tags: Mapping[str, str]
) -> dg.AssetMaterialization:
    metadata = dict(outcome.metadata)
    return dg.AssetMaterialization(key, partition=partition, metadata=metadata, tags=tags)


def _provenance(
    context: dg.AssetExecutionContext, key: dg.AssetKey, version: str | None
) -> dict[str, str]:
    """The version, the code and the inputs of a partition, as Dagster tells of its own results.

    Without them Dagster would call the partition stale. Where the stage tells no version, it is
    what Dagster makes of code and inputs.
    """
    from dagster._core.execution.plan import execute_step as dagsters

    step = context.get_step_execution_context()
    code, inputs = dagsters._get_code_version(key, step), {}
    if step.is_external_input_asset_version_info_loaded:
        inputs = dict(dagsters._get_input_provenance_data(key, step))
    given = {parent: told["data_version"] for parent, told in inputs.items()}
    own = dg.DataVersion(version) if version else compute_logical_data_version(code, given)
    return dagsters._build_data_version_tags(own, code, inputs, version is not None)


def _range_of_one(context: dg.AssetExecutionContext) -> bool:
    """Whether the step makes a partition that a backfill named as a range, from it to itself.

    Dagster plans its checks for the partition, and takes a result of the step for one without: in
    the UI they would be skipped for ever.
    """
    return RANGE_END_TAG in context.run.tags and context.assets_def.partitions_def is not None


def _together(context: dg.AssetExecutionContext) -> AbstractContextManager[None]:
    """Store a step's events in one transaction, where the history can (see `ai_assets/history`)."""
    together = getattr(context.instance.event_log_storage, "together", None)
    return together(context.run.run_id) if together else nullcontext()


def _own_versions(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    outcomes: Mapping[str | None, "Outcome"],
) -> Iterator[dg.AssetMaterialization]:
    """For each partition of a range an event with its own data version.

    Dagster gives all partitions of a step one version, so that a partition made again alone, with
    the same content, would make everything downstream stale.
    """
    newest = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[str(list(outcomes)[-1])])
    records = context.instance.fetch_materializations(newest, limit=1).records
    materialization = records[0].asset_materialization if records else None
    if materialization is None:
        return
    for partition, outcome in outcomes.items():
        version = {DATA_VERSION_TAG: str(outcome.data_version)}
        tags = {**(materialization.tags or {}), **version}
        yield _materialization(key, str(partition), outcome, tags)


def _partition_findings(
    guards: Sequence["Guard"], key: dg.AssetKey, partition: str, outcome: "Outcome"
) -> Iterator[dg.AssetCheckEvaluation]:
    for guard in guards:
        finding = outcome.findings[guard.name]
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=guard.name,
            passed=finding.passed,
            metadata=dict(finding.metadata),
            severity=_severity(finding),
            description=finding.words,
            blocking=guard.blocking,
            partition=partition,
        )


def _summary(guard: "Guard", outcomes: Mapping[str | None, "Outcome"]) -> dg.AssetCheckResult:
    """One result over all partitions of the step; red if any is, with the words of the red ones."""
    findings = {key: outcome.findings[guard.name] for key, outcome in outcomes.items()}
    red = {key: f for key, f in findings.items() if not f.passed} or findings
    words = [f"{key}: {f.words}" if len(findings) > 1 else f.words for key, f in red.items()]
    # Sentences end where the next partition's words begin.
    words = [*(word.removesuffix(".") for word in words[:-1]), *words[-1:]]
    worst = min(red.values(), key=lambda finding: finding.warn)
    return dg.AssetCheckResult(
        check_name=guard.name,
        passed=all(f.passed for f in findings.values()),
        severity=_severity(worst),
        description="; ".join(words),
        metadata=dict(worst.metadata),
    )


def _severity(finding: "Finding") -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.WARN if finding.warn else dg.AssetCheckSeverity.ERROR
