"""cleaned/<table>: rows that meet the contract; rejected/<table>: the others, with the rule."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ai_assets.lifecycle.ahead import one_ahead
from ai_assets.lifecycle.cleaning import Cleaned, CleaningCounts, clean
from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.cleaning.near import general
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.overview.columns import Overview, overview
from ai_assets.lifecycle.overview.page import as_markdown, as_page
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.resources.lake import Lake, TableVersion
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.data import ACCOUNTED, AGREE, ONCE, WITHIN_LIMIT, takes_the_first
from ai_assets.stages.meanings import of_table

MANY_ROWS = 200_000
PAGE = "columns.html"


def apply_contract(runs: Sequence[StageRun], name: str, table: Table) -> list[Outcome]:
    """Split each partition into good and rejected rows; write those of all in a commit a table.

    Where too many are rejected, those that were cleaned before stay: later partitions look back.
    """
    product, lake = runs[0].product, runs[0].lake
    keys = [run.key_in(name) for run in runs]
    raw = lake.snapshot(product.asset(f"raw/{name}"))
    asset = product.asset(f"cleaned/{name}")
    before, good = lake.counts(asset), lake.replacing(asset, keys)
    bad = lake.replacing(product.asset(f"rejected/{name}"), keys)
    rows = {key: raw.scan([key]).select(pl.len()).collect().item() for key in keys}

    def split(key: str) -> Cleaned:
        return clean(raw.scan([key]), table, product.near(name))

    # The next partition is split while one is written, if there is room for both.
    splits = map(split, keys) if max(rows.values()) > MANY_ROWS else one_ahead(split, keys)
    seen, left = [], dict[str, pl.LazyFrame]()
    for key, cleaned in zip(keys, splits, strict=True):
        limit = limit_of(cleaned.counts, table, before.get(key, 0))
        if "rows_kept" in limit.metadata:
            good.leave(key)
            left[key] = cleaned.good
        else:
            good.add(key, cleaned.good)
        bad.add(key, cleaned.rejected)
        seen.append((rows[key], cleaned.counts, cleaned.good.collect_schema(), limit))
    written, rejected = good.commit(), bad.commit()
    stored = lake.snapshot(asset)
    return [
        _kept_to_contract(
            written.get(key) or as_it_was(lake, asset, key, before[key]),
            rejected[key].rows,
            *account,
            table,
            looked_at(run, name, key, overview(left.get(key, stored.scan([key])), table)),
        )
        for run, key, account in zip(runs, keys, seen, strict=True)
    ]


def as_it_was(lake: Lake, asset: AssetName, key: str, rows: int) -> TableVersion:
    """A partition that was not written."""
    return TableVersion(lake.version(asset), rows, lake.digest(asset, key))


def looked_at(
    run: StageRun, name: str, key: str | None, columns: Sequence[Overview]
) -> dict[str, Any]:
    """The page of the columns, as metadata: a table, and a file with a picture of each."""
    asset = run.product.asset(f"cleaned/{name}")
    where = f"{asset.path}, {key}" if run.product.is_partitioned(name) else asset.path
    with TemporaryDirectory() as folder:
        Path(folder, PAGE).write_text(as_page(where, columns), encoding="utf-8")
        saved = run.lake.save_artifact(asset, key, Path(folder))
    return {
        "columns": shown.markdown(as_markdown(columns)),
        "page": shown.path(saved.path / PAGE),
    }


def _kept_to_contract(
    written: TableVersion,
    rejected: int,
    raw_rows: int,
    counts: CleaningCounts,
    schema: pl.Schema,
    limit: Finding,
    table: Table,
    page: dict[str, Any],
) -> Outcome:
    cleaned = counts.cleaned if "rows_kept" in limit.metadata else written.rows
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(schema, written.rows, table.columns),
            "rejected": counts.rejected,
            "duplicates": counts.duplicates,
            "near_duplicates": counts.repeats,
            "rejected_share": counts.rejected / max(counts.raw, 1),
            "rules_broken": shown.table(rules_broken(counts)),
            **page,
        },
        {
            ACCOUNTED.name: accounted(raw_rows, cleaned, rejected, counts.duplicates),
            WITHIN_LIMIT.name: limit,
            **({AGREE.name: agree(counts.differing, table.key)} if takes_the_first(table) else {}),
            **({} if table.key else {ONCE.name: not_doubled(counts)}),
        },
    )


def show_rejected(runs: Sequence[StageRun], name: str) -> Iterator[Outcome]:
    """Report the quarantine of each partition: how many rows, which rules, some examples."""
    quarantine = runs[0].lake.snapshot(runs[0].name(f"rejected/{name}"))
    table = runs[0].product.declaration.tables[name]
    for run in runs:
        rows = quarantine.scan([run.key_in(name)]).collect()
        rules = rows.select(pl.col("_rule").map_elements(general, return_dtype=pl.String))
        by_rule = (
            rules.group_by("_rule").len("rows").sort("rows", "_rule", descending=[True, False])
        )
        digest = Digest()
        digest.add(rows)
        yield Outcome(
            digest.hexdigest(),
            {
                **shown.rows_and_columns(rows, rows.height, meanings=of_table(table)),
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


def agree(differing: int, key: Sequence[str]) -> Finding:
    """Whether no row went whose values were others than those of the row that stayed."""
    if not differing:
        return Finding(True, "No row holds other values than the row of its key that stays.")
    words = (
        f"{differing:,} rows repeat the key ({', '.join(key)}) of an earlier row with other "
        "values; the first of each key stays. If they correct it, declare `duplicates: last`; else "
        "`duplicates: first` says that it is meant."
    )
    return Finding(False, words, {"differing": differing}, warn=True)


def not_doubled(counts: CleaningCounts) -> Finding:
    """Whether a row is there once, as one is in every table but one that was put together twice."""
    if not counts.doubled:
        return Finding(True, "Not every row is there again.")
    words = (
        f"Each of {counts.cleaned:,} rows is there at least twice, and without a key all of them "
        "count. Was a file delivered, or put together, twice? Declare a `key` to keep one of each."
    )
    return Finding(False, words, {"rows": counts.cleaned}, warn=True)


def limit_of(counts: CleaningCounts, table: Table, before: int) -> Finding:
    """`within_limit` for a table, of which so many rows were cleaned before.

    They stay where they are more than the good ones now: else nothing is taken away. Of a table
    with personal columns they do not, for these may have been treated otherwise.
    """
    most = rules_broken(counts)["rule"].head(1).to_list()
    rejected = counts.rejected - counts.repeats
    kept = before if before > counts.cleaned and not table.plain else 0
    return within_limit(rejected, counts.raw, table.max_rejected, most, kept)


def within_limit(
    rejected: int, raw: int, limit: float, most: Sequence[str] = (), before: int = 0
) -> Finding:
    """Whether the share of rejected rows is tolerable; if not, with the rule that most broke.

    Its metadata `rows_kept` tells how many rows, cleaned before, stay in their place.
    """
    share = rejected / max(raw, 1)
    told = {"rejected_share": share, "limit": limit}
    words = f"{rejected:,} of {raw:,} rows ({share:.2%}) were rejected; at most {limit:.2%} may be."
    if share <= limit:
        return Finding(True, words, told)
    words += "".join(f" Most: {rule}." for rule in most)
    if before:
        words += f" The {before:,} rows cleaned before stay, with all that was made of them."
        told["rows_kept"] = before
    return Finding(False, words, told)
