"""How a stage's named function becomes a Dagster asset of a product.

`declared` gives a `Stage`: what the asset is, what it depends on, what its checks guard, and a
plain function from `StageRun` to `Outcome`, by name. `bind` turns it into an `AssetsDefinition`. A
run over a range of partitions calls the function once a partition; a stage that does better with
all of them at hand gives `together`, which takes them in order and must hold only a few in memory.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import dagster as dg

import ai_assets.lifecycle
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.partitions import KEY_FORMATS, Partitions, Span
from ai_assets.lifecycle.product import Product
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.cores import Cores
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import WHOLE, Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.machine import tell_machine
from ai_assets.resources.notify import Notifier
from ai_assets.resources.signer import Signer
from ai_assets.resources.tracking import ExperimentTracker
from ai_assets.stages.asked import asked_by
from ai_assets.stages.reporting import RANGE_END_TAG, report, report_done

_LIFECYCLE = Path(ai_assets.lifecycle.__file__).parent
PARTITION_TAG = "dagster/partition"
_WITH_CONTEXT = Signature([Parameter("context", Parameter.POSITIONAL_OR_KEYWORD)])


@dataclass(frozen=True)
class Upstream:
    """An asset that a stage reads, and which of its partitions.

    `earlier` counts those before; `until` leaves out the newest so many of them: 1 and 1 is the
    partition before alone.
    """

    asset: str
    earlier: int = 0
    partitioned: bool = True
    until: int = 0


@dataclass(frozen=True)
class Guard:
    """A check of a stage: its name, what it guards in words, and whether it stops the run."""

    name: str
    description: str
    blocking: bool = False


# A run that carries out a recorded decision bears its id.
DECISION_TAG = "ai_assets/decision"


@dataclass(frozen=True)
class Finding:
    """The result of one check for one partition."""

    passed: bool
    words: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    warn: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a stage did for one partition."""

    data_version: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    findings: Mapping[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True)
class Tools:
    """The outside world, as a stage sees it."""

    lake: Lake
    tracker: ExperimentTracker
    bundles: BundleStore
    signer: Signer
    ledger: ReleaseLedger
    decisions: DecisionLog
    notifier: Notifier
    cores: Cores


@dataclass(frozen=True)
class StageRun:
    """One partition's work: the product, the partition (None without partitions) and the tools.

    Under a `decision`, named by its id, the run makes a challenger that may lose. `code` is the
    version of what computes the asset, as Dagster knows it.
    """

    product: Product
    partition: str | None
    tools: Tools
    run_id: str = ""
    config: Any = None
    log: Any = None
    decision: str = ""
    code: str = ""

    @property
    def lake(self) -> Lake:
        return self.tools.lake

    @property
    def span(self) -> Span | None:
        if self.product.partitions is None or self.partition is None:
            return None
        return self.product.partitions.span(self.partition)

    def name(self, asset: str) -> AssetName:
        return self.product.asset(asset)

    def key_in(self, table: str) -> str:
        """Under which key the lake has what this run works on of a declared table."""
        cut = self.product.is_partitioned(table)
        return self.partition if cut and self.partition is not None else WHOLE

    def at(self, partition: str | None) -> "StageRun":
        """The same work's view of another partition."""
        return replace(self, partition=partition)

    def say(self, words: str) -> None:
        """Tell a waiting person how far the work is."""
        if self.log is not None:
            self.log.info(words)


@dataclass(frozen=True)
class Stage:
    """An asset of a product before it is bound.

    `threads` is how many CPU threads it trains with (0: every core), None if it does not train.
    """

    stage: str
    asset: str
    description: str
    compute: Callable[[StageRun], Outcome] | None = None
    together: Callable[[Sequence[StageRun]], Iterable[Outcome]] | None = None
    kinds: frozenset[str] = frozenset()
    upstream: Sequence[Upstream] = ()
    guards: Sequence[Guard] = ()
    partitioned: bool = True
    ranges: bool = False
    code: Sequence[str] = ()
    settings: str = ""
    config: type[dg.Config] | None = None
    threads: int | None = None

    def outcomes(self, runs: Sequence[StageRun]) -> Iterator[Outcome]:
        """What the stage did for each partition of a run, in order.

        While a partition is trained on, it has the cores for it.
        """
        if self.together is not None:
            yield from self.together(runs)
        elif self.compute is not None:
            yield from map(self._alone, runs)

    def _alone(self, run: StageRun) -> Outcome:
        assert self.compute is not None
        if self.threads is None:
            return self.compute(run)
        with run.tools.cores.lent(self.threads, run.say):
            return self.compute(run)


def bind(
    product: Product, stage: Stage, condition: dg.AutomationCondition | None = None
) -> dg.AssetsDefinition:
    """The Dagster asset of one stage of one product, made by itself where a condition says so."""
    name = product.asset(stage.asset)
    partitions = dagster_partitions(product.partitions) if stage.partitioned else None
    spec = dg.AssetSpec(
        key=name.key,
        description=stage.description,
        group_name=product.name,
        owners=product.declaration.owners,
        kinds=set(stage.kinds),
        tags={"stage": stage.stage},
        code_version=code_version(tuple(stage.code), stage.settings),
        partitions_def=partitions,
        automation_condition=condition,
        deps=[_dependency(product, up, partitions) for up in stage.upstream],
    )
    checks = [
        dg.AssetCheckSpec(
            guard.name,
            asset=name.key,
            description=guard.description,
            blocking=guard.blocking,
            partitions_def=partitions,
        )
        for guard in stage.guards
    ]

    return dg.multi_asset(
        name="__".join(name.key),
        specs=[spec],
        check_specs=checks,
        required_resource_keys=set(Tools.__annotations__),
        backfill_policy=dg.BackfillPolicy.single_run() if stage.ranges else None,
    )(_step(product, stage))


def _step(product: Product, stage: Stage) -> Callable[..., Iterator[Any]]:
    """The function that Dagster calls; it asks for configuration only where the stage has any."""

    def plain(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from _run_stage(context, product, stage)

    def configured(context: dg.AssetExecutionContext, config: Any) -> Iterator[Any]:
        yield from _run_stage(context, product, stage, config)

    if stage.config is None:
        # Asked for sixteen times an asset; to find it out is a tenth of loading thousands of them.
        vars(plain)["__signature__"] = _WITH_CONTEXT
        return plain
    configured.__annotations__["config"] = stage.config
    return configured


def _run_stage(
    context: dg.AssetExecutionContext, product: Product, stage: Stage, config: Any = None
) -> Iterator[Any]:
    tell_machine(context)
    tools = Tools(**{name: getattr(context.resources, name) for name in Tools.__annotations__})
    keys = _partition_keys(context, product, stage)
    run_id, log = context.run.run_id, context.log
    decision = context.run.tags.get(DECISION_TAG, "")
    code = code_version(tuple(stage.code), stage.settings)
    runs = [StageRun(product, key, tools, run_id, config, log, decision, code) for key in keys]
    outcomes: dict[str | None, Outcome] = {}
    asked = asked_by(tools.decisions, product, decision)
    asset = dg.AssetKey(product.asset(stage.asset).key)
    try:
        for key, outcome in zip(keys, stage.outcomes(runs), strict=True):
            outcomes[key] = replace(outcome, metadata={**asked, **outcome.metadata})
            if len(keys) > 1 and stage.together is None:
                log.info(f"{stage.asset}: {key} done, {len(outcomes)} of {len(keys)}")
    except Exception:
        if outcomes:
            report_done(context, asset, stage.guards, outcomes)
        raise
    yield from report(context, asset, stage.guards, outcomes, _join(outcomes.values()))


def _partition_keys(
    context: dg.AssetExecutionContext, product: Product, stage: Stage
) -> list[str | None]:
    """The partitions to work on; an unpartitioned asset sees the run's (last) partition, if any."""
    if product.partitions is None:
        return [None]
    if stage.partitioned:
        return list(context.partition_keys)
    tags = context.run.tags
    return [tags.get(PARTITION_TAG) or tags.get(RANGE_END_TAG)]


def _join(outcomes: Iterable[Outcome]) -> str | None:
    """The data version of a step over all its partitions; None if one of them tells none."""
    versions = [outcome.data_version or "" for outcome in outcomes]
    if not all(versions):
        return None
    return versions[0] if len(versions) == 1 else digest("\n".join(versions))


def _dependency(
    product: Product, upstream: Upstream, partitions: dg.PartitionsDefinition | None
) -> dg.AssetDep:
    moved = upstream.earlier and partitions is not None and upstream.partitioned
    mapping = _mapping(upstream.earlier, upstream.until) if moved else None
    return dg.AssetDep(dg.AssetKey(product.asset(upstream.asset).key), partition_mapping=mapping)


@lru_cache
def _mapping(earlier: int, until: int) -> dg.TimeWindowPartitionMapping:
    return dg.TimeWindowPartitionMapping(
        start_offset=-earlier, end_offset=-until, allow_nonexistent_upstream_partitions=True
    )


def dagster_partitions(partitions: Partitions | None) -> dg.TimeWindowPartitionsDefinition | None:
    """The Dagster form of the declared partitions; both give the same keys (a test holds it)."""
    if partitions is None:
        return None
    return _windows(partitions.every, partitions.start, partitions.end, partitions.timezone)


@lru_cache
def _windows(
    every: str, start: date, end: date | None, timezone: str
) -> dg.TimeWindowPartitionsDefinition:
    """One definition for all assets that are cut alike: Dagster then compares them at a glance."""
    cron = {"month": "0 0 1 * *", "week": "0 0 * * 0", "day": "0 0 * * *", "hour": "0 * * * *"}
    form = KEY_FORMATS[every]
    return dg.TimeWindowPartitionsDefinition(
        start=start.strftime(form),
        end=end.strftime(form) if end else None,
        cron_schedule=cron[every],
        fmt=form,
        timezone=timezone,
    )


def digest(text: str) -> str:
    """First 16 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache
def _source_digest(package: str) -> str:
    """Digest of a lifecycle package or module, so that changed code makes its assets stale."""
    path = _LIFECYCLE / package
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return digest("".join(file.read_text(encoding="utf-8") for file in files))


def code_version(packages: tuple[str, ...], settings: str) -> str:
    """Version of what computes an asset: its lifecycle code and its part of the declaration."""
    return digest("\n".join([*(_source_digest(p) for p in packages), settings]))
