"""cleaned/<table>: rows that meet the contract; rejected/<table>: the others, with the rule."""

from collections.abc import Iterator, Sequence
from functools import partial

import polars as pl

from ai_assets.lifecycle.cleaning import CleaningCounts, clean
from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.resources.lake import TableVersion
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
        together=partial(apply_contract, name=name, table=table),
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
        together=partial(show_rejected, name=name),
        kinds=frozenset({"polars", "deltalake"}),
        upstream=[Upstream(f"cleaned/{name}", partitioned=product.is_partitioned(name))],
        partitioned=product.is_partitioned(name),
        ranges=True,
        code=("cleaning",),
    )


def apply_contract(runs: Sequence[StageRun], name: str, table: Table) -> list[Outcome]:
    """Split each partition into good and rejected rows; write those of all in a commit a table."""
    product, lake = runs[0].product, runs[0].lake
    keys = [run.key_in(name) for run in runs]
    raw = lake.snapshot(product.asset(f"raw/{name}"))
    good = lake.replacing(product.asset(f"cleaned/{name}"), keys)
    bad = lake.replacing(product.asset(f"rejected/{name}"), keys)
    seen = []
    for key in keys:
        rows = raw.scan([key])
        cleaned = clean(rows, table)
        good.add(key, cleaned.good)
        bad.add(key, cleaned.rejected)
        raw_rows = rows.select(pl.len()).collect().item()
        seen.append((raw_rows, cleaned.counts, cleaned.good.collect_schema()))
    written, rejected = good.commit(), bad.commit()
    return [
        _kept_to_contract(written[key], rejected[key].rows, *account, table.max_rejected)
        for key, account in zip(keys, seen, strict=True)
    ]


def _kept_to_contract(
    written: TableVersion,
    rejected: int,
    raw_rows: int,
    counts: CleaningCounts,
    schema: pl.Schema,
    max_rejected: float,
) -> Outcome:
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(schema, written.rows),
            "rejected": counts.rejected,
            "duplicates": counts.duplicates,
            "rejected_share": counts.rejected / max(counts.raw, 1),
            "rules_broken": shown.table(rules_broken(counts)),
        },
        {
            ACCOUNTED.name: accounted(raw_rows, written.rows, rejected, counts.duplicates),
            WITHIN_LIMIT.name: within_limit(counts.rejected, counts.raw, max_rejected),
        },
    )


def show_rejected(runs: Sequence[StageRun], name: str) -> Iterator[Outcome]:
    """Report the quarantine of each partition: how many rows, which rules, some examples."""
    quarantine = runs[0].lake.snapshot(runs[0].name(f"rejected/{name}"))
    for run in runs:
        rows = quarantine.scan([run.key_in(name)]).collect()
        by_rule = rows.group_by("_rule").len("rows").sort("rows", "_rule", descending=[True, False])
        digest = Digest()
        digest.add(rows)
        yield Outcome(
            digest.hexdigest(),
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
