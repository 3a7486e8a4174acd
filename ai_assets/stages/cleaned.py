"""cleaned/<table>: rows that meet the contract; rejected/<table>: the others, with the rule."""

from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning import CleaningCounts, clean
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Guard, Outcome, Stage, StageRun, Upstream

ACCOUNTED = Guard(
    "every_row_accounted_for",
    "Nothing is dropped silently: raw rows = cleaned + rejected + duplicates.",
    blocking=True,
)
WITHIN_LIMIT = Guard(
    "few_rows_rejected",
    "The share of rows that break the contract stays within the declared `max_rejected`.",
    blocking=True,
)


def cleaned_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that holds one table to its contract."""
    return Stage(
        stage="cleaned",
        asset=f"cleaned/{name}",
        description=f"{table.description or name} Rows that meet the contract, typed.",
        compute=partial(apply_contract, name=name, table=table),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"raw/{name}", partitioned=product.is_partitioned(name))],
        guards=[ACCOUNTED, WITHIN_LIMIT],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("cleaning",),
        settings=table.model_dump_json(exclude={"source"}),
    )


def rejected_stage(product: Product, name: str, table: Table) -> Stage:
    """The stage that shows what the contract kept out."""
    return Stage(
        stage="rejected",
        asset=f"rejected/{name}",
        description=f"Rows of {name} that break the contract, with the rule they broke.",
        compute=partial(show_rejected, name=name),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"cleaned/{name}", partitioned=product.is_partitioned(name))],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("cleaning",),
    )


def apply_contract(run: StageRun, name: str, table: Table) -> Outcome:
    """Split a partition into good and rejected rows and write both."""
    partition = run.partition if run.product.is_partitioned(name) else None
    raw = run.lake.scan(run.name(f"raw/{name}"), [partition] if partition else None)
    cleaned = clean(raw, table)
    written = run.lake.replace(run.name(f"cleaned/{name}"), cleaned.good, partition)
    rejected = run.lake.replace(run.name(f"rejected/{name}"), cleaned.rejected, partition)
    raw_rows = raw.select(pl.len()).collect().item()
    counts = cleaned.counts
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(cleaned.good, written.rows),
            "rejected": counts.rejected,
            "duplicates": counts.duplicates,
            "rejected_share": counts.rejected / max(counts.raw, 1),
            "rules_broken": shown.table(rules_broken(counts)),
        },
        {
            ACCOUNTED.name: accounted(raw_rows, written.rows, rejected.rows, counts.duplicates),
            WITHIN_LIMIT.name: within_limit(counts.rejected, counts.raw, table.max_rejected),
        },
    )


def show_rejected(run: StageRun, name: str) -> Outcome:
    """Report the quarantine of a partition: how many rows, which rules, some examples."""
    partition = run.partition if run.product.is_partitioned(name) else None
    asset = run.name(f"rejected/{name}")
    rows = run.lake.scan(asset, [partition] if partition else None).collect()
    by_rule = rows.group_by("_rule").len("rows").sort("rows", "_rule", descending=[True, False])
    return Outcome(
        str(run.lake.digest(asset, partition)),
        {
            **shown.rows_and_columns(rows, rows.height),
            "by_rule": shown.table(by_rule),
            "examples": shown.table(rows.head(10)),
        },
    )


def rules_broken(counts: CleaningCounts) -> pl.DataFrame:
    """`rule`, `rows`: how many rows broke each rule."""
    rows = sorted(counts.by_rule.items(), key=lambda item: (-item[1], item[0]))
    return pl.DataFrame(rows, schema={"rule": pl.String, "rows": pl.Int64}, orient="row")


def accounted(raw: int, cleaned: int, rejected: int, duplicates: int) -> Finding:
    """Whether every raw row went somewhere."""
    lost = raw - cleaned - rejected - duplicates
    words = f"{raw:,} raw = {cleaned:,} cleaned + {rejected:,} rejected + {duplicates:,} duplicates"
    return Finding(lost == 0, words if lost == 0 else f"{words}, but {lost:,} rows are missing")


def within_limit(rejected: int, raw: int, limit: float) -> Finding:
    """Whether the share of rejected rows is tolerable."""
    share = rejected / max(raw, 1)
    return Finding(
        share <= limit,
        f"{rejected:,} of {raw:,} rows ({share:.2%}) were rejected; at most {limit:.2%} may be.",
        {"rejected_share": share, "limit": limit},
    )
