"""release: what is in production, as an append-only ledger; its history is that of production."""

import json
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.product import Product
from ai_assets.resources.ledger import Entry
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, Stage, StageRun, Upstream, digest
from ai_assets.stages.training_data import artifact, read_json

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class ReleaseConfig(dg.Config):
    """Who releases what, and why. Without a bundle, the one of the run's partition."""

    bundle: str | None = Field(
        None, description="Tag of the bundle to release, also an earlier one."
    )
    who: str = Field("operator", description="Who decides.")
    why: str = Field("released by hand", description="The reason, for the history.")


def release_stage(product: Product) -> Stage:
    """The stage that appends to the ledger."""
    return Stage(
        stage="release",
        asset="release",
        description="What is in production: bundle, since when in event time, decided by whom, why.",
        compute=append_release,
        kinds=frozenset({"deltalake"}),
        upstream=[Upstream("gate")],
        partitioned=False,
        config=ReleaseConfig,
    )


def append_release(run: StageRun) -> Outcome:
    """Put a bundle into production from the end of its partition on. Releasing it again changes
    nothing."""
    config = run.config or ReleaseConfig()
    bundle = config.bundle or read_json(artifact(run, "bundle"), "bundle.json")["tag"]
    known = run.tools.bundles.tags(run.product.name)
    if bundle not in known:
        raise DataError(
            f"bundle must be one that was built, but got {bundle!r}.{did_you_mean(bundle, known)}"
        )
    effective = effective_from(run)
    now_stable = run.tools.ledger.as_of(run.product.name, effective)
    if now_stable is None or now_stable.stable != bundle:
        run.tools.ledger.append(_entry(run, config, bundle, effective, now_stable))
    history = run.tools.ledger.history(run.product.name)
    current = run.tools.ledger.as_of(run.product.name, effective)
    return Outcome(
        digest("\n".join(history["decision_id"].to_list())),
        {
            "stable": bundle,
            "effective_from": str(effective),
            "decision": current.decision_id if current else "",
            "releases": history.height,
            "history": shown.table(
                history.select("effective_from", "stable", "cause", "who", "why", "decision_id")
            ),
        },
    )


def _entry(
    run: StageRun, config: ReleaseConfig, bundle: str, effective: datetime, before: Entry | None
) -> Entry:
    previous = before.decision_id if before else ""
    decision = digest("\n".join([run.product.name, bundle, str(effective), previous]))
    return Entry(
        product=run.product.name,
        effective_from=effective,
        recorded_at=datetime.now(UTC),
        stable=bundle,
        decision_id=decision,
        cause="first release" if before is None else "by hand",
        who=config.who,
        why=config.why,
        gate=json.dumps(read_json(artifact(run, "gate"), "gate.json"), sort_keys=True),
    )


def effective_from(run: StageRun) -> datetime:
    """When a release made by this run begins, in event time: the end of the run's partition."""
    return _ALWAYS if run.span is None else run.span.end
