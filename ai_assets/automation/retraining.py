"""A tick of the retraining sensor: it reads verdicts and decides; it reads nothing else."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from ai_assets.lifecycle.naming import bundle_partition
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.retraining.decide import (
    ACTIONS,
    Costs,
    Past,
    decide,
    decision_id,
)
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.notify import Notifier, alerts_on
from ai_assets.stages.binding import DECISION_TAG

WHO = "retraining sensor"
VERDICTS_A_TICK = 500
# Each new decision is a commit to the lake, and a tick has a minute.
MOST_NEW = 10
MOST_BACK = 1000
# A decision that is so old was told of, or is no news: a lost cursor must not bring up all of them.
STILL_NEWS = timedelta(days=1)


def tick(
    context: dg.SensorEvaluationContext, product: Product, keys: list[dg.AssetKey]
) -> dg.SensorResult:
    """Decide on the verdicts since the cursor, oldest first, as many as fit into a tick."""
    records = newer_verdicts(context, product)
    if not records:
        return dg.SensorResult(skip_reason="No new verdict.")
    log: DecisionLog = context.resources.decisions
    decided = log.decided(product.name)
    requests: dict[str, dg.RunRequest] = {}
    said: list[str] = []
    before, cursor = 0, context.cursor
    for record in records:
        verdict = verdict_of(record)
        if verdict is not None and verdict.bundle:
            known = decided.get(decision_id(verdict))
            if known is None and len(said) == MOST_NEW:
                break
            if known is not None:
                before += 1
                if datetime.now(UTC) - known["recorded_at"] < STILL_NEWS:
                    tell(context.resources.notifier, verdict, known)
            else:
                known = decide_anew(context, product, verdict, record, decided)
                said.append(f"{verdict.partition or 'all'}: {known['action']}. {known['why']}")
            if known["action"] == "retrain":
                requests[known["decision_id"]] = request_of(product, known, keys)
        cursor = str(record.storage_id)
    if before:
        said.append(f"{before} verdicts had been decided on before.")
    for words in said:
        context.log.info(words)
    return dg.SensorResult(
        run_requests=list(requests.values()),
        skip_reason=None if requests else " ".join(said) or "No verdict on a release.",
        cursor=cursor,
    )


def newer_verdicts(
    context: dg.SensorEvaluationContext, product: Product
) -> list[dg.EventLogRecord]:
    """Materializations of the verdict asset after the cursor, oldest first, a bounded number."""
    key = dg.AssetKey(product.asset("verdict").key)
    after = int(context.cursor) if context.cursor else None
    found = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, after_storage_id=after),
        limit=VERDICTS_A_TICK,
        ascending=True,
    )
    return list(found.records)


def verdict_of(record: dg.EventLogRecord) -> Verdict | None:
    """The verdict that a materialization tells of."""
    materialization = record.asset_materialization
    value = materialization.metadata.get("verdict") if materialization else None
    if value is None:
        return None
    return Verdict.from_json(json.dumps(value.value))


def decide_anew(
    context: dg.SensorEvaluationContext,
    product: Product,
    verdict: Verdict,
    record: dg.EventLogRecord,
    decided: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Decide on a verdict that has no decision, write the decision down, and tell people.

    They are told of what is recorded: after a process died in between, the verdict comes again,
    its decision is known, and `tick` tells them. The notifier sends an alert once.

    Returns:
        What is now recorded; it is added to `decided`.
    """
    decision = decide(
        verdict,
        product.declaration.retrain,
        retrainings=past_retrainings(product, verdict, decided),
        since_trained=age(product, verdict),
        costs=costs(context, product, verdict),
    )
    log: DecisionLog = context.resources.decisions
    now, evidence = datetime.now(UTC), evidence_of(verdict, record)
    row = log.record(decision, evidence, who=WHO, recorded_at=now)
    decided[decision.decision_id] = row
    tell(context.resources.notifier, verdict, row)
    return row


def past_retrainings(
    product: Product, verdict: Verdict, decided: Mapping[str, dict[str, Any]]
) -> list[Past]:
    """Retrainings decided before, by how many partitions ago; those too old to matter left out.

    Without partitions each verdict counts as one.
    """
    policy = product.declaration.retrain
    rows = [row for row in decided.values() if row["action"] in ACTIONS]
    ago = partitions_back(product, verdict.partition, max(policy.within, policy.cooldown))
    if ago is None:
        return [
            Past(len(rows) - place) for place, row in enumerate(rows) if row["action"] == "retrain"
        ]
    partitions = [row["partition"] for row in rows if row["action"] == "retrain"]
    return [Past(ago[partition]) for partition in partitions if partition in ago]


def partitions_back(product: Product, partition: str | None, most: int) -> dict[str, int] | None:
    """How long ago each of the newest partitions was, by key; None without partitions."""
    if product.partitions is None or partition is None:
        return None
    keys = product.partitions.window(partition, most + 1)
    return {key: len(keys) - 1 - place for place, key in enumerate(keys)}


def age(product: Product, verdict: Verdict) -> int | None:
    """Partitions since the newest one that the judged bundle learned from, or more than counted."""
    ago = partitions_back(product, verdict.partition, most_back(product))
    trained = trained_as_of(product, verdict)
    return None if ago is None else ago.get(trained or "", len(ago))


def trained_as_of(product: Product, verdict: Verdict) -> str | None:
    """The partition that the judged bundle was trained as of."""
    if product.partitions is None or verdict.partition is None:
        return None
    keys = product.partitions.window(verdict.partition, most_back(product) + 1)
    return bundle_partition(verdict.bundle, keys)


def most_back(product: Product) -> int:
    """How many partitions before a verdict's a bundle is looked for."""
    return max(MOST_BACK, product.declaration.retrain.every or 0)


def costs(context: dg.SensorEvaluationContext, product: Product, verdict: Verdict) -> Costs:
    """What waiting and training are known to cost."""
    metadata = _metadata(context, product, "performance", verdict.partition)
    loss = metadata.get("realised/log_loss", metadata.get("estimated/log_loss"))
    usual = _metadata(context, product, "evaluation", trained_as_of(product, verdict)).get(
        "log_loss"
    )
    excess = float(loss) - float(usual) if loss is not None and usual is not None else None
    rows = _metadata(context, product, "predictions", verdict.partition)
    return Costs(excess, int(rows.get("dagster/row_count", 0)), last_training_seconds(context))


def _metadata(
    context: dg.SensorEvaluationContext, product: Product, asset: str, partition: str | None
) -> dict[str, Any]:
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(product.asset(asset).key),
        asset_partitions=[partition] if partition else None,
    )
    records = context.instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    return {k: v.value for k, v in materialization.metadata.items()} if materialization else {}


def last_training_seconds(context: dg.SensorEvaluationContext) -> float | None:
    """How long the newest successful retraining run took."""
    runs = context.instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], tags={"ai_assets/does": "retrain"}),
        limit=1,
    )
    if not runs or runs[0].start_time is None or runs[0].end_time is None:
        return None
    return runs[0].end_time - runs[0].start_time


def evidence_of(verdict: Verdict, record: dg.EventLogRecord) -> dict[str, Any]:
    """What the decision stands on, for whoever asks why."""
    return {
        "verdict": json.loads(verdict.to_json()),
        "materialization": record.storage_id,
        "run_id": record.run_id,
        "decided_on_partition": verdict.partition,
    }


def request_of(
    product: Product, decided: Mapping[str, Any], keys: list[dg.AssetKey]
) -> dg.RunRequest:
    """The run that trains, judges and, if the gate says so, releases a challenger."""
    release = {"who": WHO, "why": decided["why"], "decision": decided["decision_id"]}
    name = "__".join(product.asset("release").key)
    return dg.RunRequest(
        run_key=decided["decision_id"],
        partition_key=decided["partition"],
        asset_selection=keys,
        run_config={"ops": {name: {"config": release}}},
        tags={
            DECISION_TAG: decided["decision_id"],
            "ai_assets/does": "retrain",
            "ai_assets/cause": decided["cause"],
            "dagster/max_retries": str(product.declaration.retrain.retries),
        },
    )


def tell(notifier: Notifier, verdict: Verdict, decided: Mapping[str, Any]) -> None:
    """Tell people about what is broken and about what is started."""
    for alert in alerts_on(verdict, decided):
        notifier.notify(alert)
