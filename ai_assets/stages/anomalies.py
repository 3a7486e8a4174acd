"""Anomalies on order: `make replay INJECT=<name>` changes raw rows, so that the loop can be seen.

Off unless AI_ASSETS_INJECT names an injection; then it applies to partitions from
AI_ASSETS_INJECT_FROM on. It is for replays and trials: what is written is not what the source gave,
and the raw asset says so. Only where something is ordered what injects it is imported.
"""

import os
from dataclasses import dataclass

import polars as pl

from ai_assets.lifecycle.sources import read_source
from ai_assets.stages.binding import StageRun

NAME, SINCE = "AI_ASSETS_INJECT", "AI_ASSETS_INJECT_FROM"


@dataclass(frozen=True)
class Anomaly:
    """An injection, and the partition from which it applies."""

    name: str
    since: str

    def applies_to(self, partition: str | None) -> bool:
        return partition is None or partition >= self.since


def ordered() -> Anomaly | None:
    """The anomaly that is asked for, if any.

    Raises:
        DeclarationError: there is no injection of that name.
    """
    name = os.environ.get(NAME, "")
    if not name:
        return None
    from ai_assets.lifecycle.injection import get_injection

    return Anomaly(get_injection(name).name, os.environ.get(SINCE, ""))


def changed_rows(run: StageRun, table: str, anomaly: Anomaly) -> pl.DataFrame:
    """The raw rows of one table, as the anomaly leaves them.

    An injection picks its columns among all tables, so all are read.
    """
    from ai_assets.lifecycle.injection import inject

    product = run.product
    frames = {
        name: read_source(
            spec.source,
            run.span if spec.time else None,
            table=spec,
            folder=product.folder,
            partition=run.partition,
        ).collect()
        for name, spec in product.declaration.tables.items()
    }
    changed = inject(anomaly.name, frames, product.declaration, seed=0)[table]
    # Raw rows have the source's types, an injection gives declared ones: a CSV's are all text.
    own = frames[table].schema
    return changed.with_columns(
        pl.col(name).cast(own[name]) for name in changed.columns if name in own
    )


def versions_after(versions: dict[str, str], partition: str | None) -> dict[str, str]:
    """Code versions as they would be under the ordered anomaly."""
    anomaly = ordered()
    if anomaly is None or not anomaly.applies_to(partition):
        return versions
    from ai_assets.lifecycle.injection import code_after

    return code_after(anomaly.name, versions)
