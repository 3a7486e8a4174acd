"""All that may be broken in one table, before anybody speaks of drift."""

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from ai_assets.lifecycle.cleaning import CleaningCounts
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.verdict.clock import clock_evidence
from ai_assets.lifecycle.verdict.evidence import Evidence, about
from ai_assets.lifecycle.verdict.nulls import null_evidence, volume_evidence
from ai_assets.lifecycle.verdict.schema import contract_evidence, schema_evidence
from ai_assets.lifecycle.verdict.sketch import TableSketch
from ai_assets.lifecycle.verdict.spec import Causes
from ai_assets.lifecycle.verdict.stuck import stuck_evidence
from ai_assets.lifecycle.verdict.units import unit_evidence


@dataclass(frozen=True)
class Observed:
    """One table of the partition that is judged.

    Attributes:
        table: Its declaration.
        reference: Sketch of the rows that the bundle learned from; None if the bundle has none.
        frame: The cleaned rows; None where the source could not be read by its declaration.
        counts: The account of cleaning, if it ran.
        problems: What was said against the source's columns.
        span: Start and end of the partition, for tables that are cut by time.
    """

    table: Table
    reference: TableSketch | None
    frame: pl.DataFrame | None
    counts: CleaningCounts | None = None
    problems: list[str] = field(default_factory=list)
    span: tuple[datetime, datetime] | None = None


def broken_evidence(
    tables: dict[str, Observed], spec: Causes, *, timezone: str = "UTC"
) -> list[Evidence]:
    """The evidence of broken data in all tables, the severest first."""
    found = [
        about(name, evidence)
        for name, seen in tables.items()
        for evidence in table_evidence(seen, spec, timezone=timezone)
    ]
    return sorted(found, key=lambda e: -e.severity)


def table_evidence(seen: Observed, spec: Causes, *, timezone: str = "UTC") -> list[Evidence]:
    """The evidence of broken data in one table; subjects are its columns, or empty."""
    found = schema_evidence(seen.problems)
    if seen.counts is not None:
        found += contract_evidence(seen.counts, seen.table, seen.reference, spec)
    if seen.frame is None or seen.reference is None:
        return found
    frame, table, reference = seen.frame, seen.table, seen.reference
    return [
        *found,
        *null_evidence(frame, table, reference, spec, timezone=timezone),
        *volume_evidence(frame, table, reference, spec, timezone=timezone, span=seen.span),
        *clock_evidence(frame, table, reference, spec, timezone=timezone, span=seen.span),
        *stuck_evidence(frame, table, reference, spec),
        *unit_evidence(frame, table, reference, spec),
    ]
