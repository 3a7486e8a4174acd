"""What a replay left behind, in a form in which two of them can be compared."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from ai_assets.automation.daemon import DONE, failed_runs
from ai_assets.automation.replay import by_daemon
from ai_assets.launcher import worker_of
from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import PARTITION, WHOLE, Lake
from ai_assets.resources.ledger import ReleaseLedger

PRODUCT = "flight_delay"
# Records of what happened when: compared as decisions and as releases.
RECORDS = ("decisions", "release")
# A bundle's tag ends in a digest of its manifest, and so of its model card, which tells how long a
# row took on the machine: no two replays have the same. What answers are made of is compared.
# Ids of decisions and releases are made from tags.
ID, ID_COLUMNS = r"\b[0-9a-f]{16}\b", ("release_id",)
TAG = r"(:\d{4}-\d{2}-\d{2})-[0-9a-f]{12}"
MEASURED = ("chosen.json", "model_card.md")
PAGES = (".html",)  # each time with new random ids, of their parts
NAMES_OF_CONTENT = ("manifest.json", "signature.json", "data_versions.json")
RETRIED_BY = "dagster/auto_retry_run_id"


@dataclass(frozen=True)
class Dead:
    """A run whose process was killed.

    Attributes:
        run_id: Which.
        failed: Seconds from the kill until it was marked as failed; None if it never was.
        retried: Seconds from the kill until the process of its retry worked; None without one.
    """

    run_id: str
    failed: float | None
    retried: float | None

    def __str__(self) -> str:
        told = [f"{s:.0f} s" if s is not None else "never" for s in (self.failed, self.retried)]
        return f"dead run {self.run_id}: failed after {told[0]}, retried after {told[1]}"


@dataclass(frozen=True)
class Remains:
    """What is compared, by what it is of; and what must not be."""

    decisions: dict[str, str]
    releases: dict[str, str]
    tables: dict[str, str]
    artifacts: dict[str, str]
    twice: list[str]
    unended: list[str]
    dead: list[Dead]


def of(home: Path, kills: list[dict[str, Any]]) -> Remains:
    """Read the state of a replay, given what was killed in it."""
    lake = Lake(root=str(home / "lake"))
    os.environ["DAGSTER_HOME"] = str(home / "dagster")
    with dg.DagsterInstance.get() as instance:
        return Remains(
            decisions=numbered(decisions(lake)),
            releases=numbered(releases(lake, BundleStore(home=str(home / "bentoml")))),
            tables=dict(partitions(lake)),
            artifacts=dict(artifacts(lake)),
            twice=list(twice(lake)),
            unended=list(unended(instance)),
            dead=list(dead(instance, kills)),
        )


def numbered(lines: list[str]) -> dict[str, str]:
    """The lines by their place, so that an order can be compared like the rest."""
    return {f"number {place}": line for place, line in enumerate(lines, 1)}


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is gone, new, or not as expected, in words."""
    return [
        f"{name}: {found.get(name, 'nothing')}, but in peace {expected.get(name, 'nothing')}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def decisions(lake: Lake) -> list[str]:
    """What was decided, in order."""
    rows = DecisionLog(lake=lake).history(PRODUCT)
    return [
        f"{row['partition']} {row['action']} for {row['cause']} ({row['severity']:.6f})"
        for row in rows.iter_rows(named=True)
    ]


def releases(lake: Lake, store: BundleStore) -> list[str]:
    """What was in production, in order, with a digest of all that the bundle answers with."""
    rows = ReleaseLedger(lake=lake).history(PRODUCT)
    return [
        f"{row['effective_from']:%Y-%m-%d} {row['cause']}: {tagless(row['stable'])}, "
        f"files {digest_of(store.payload(row['stable']))}"
        for row in rows.iter_rows(named=True)
    ]


def tagless(text: str) -> str:
    """The text with bundles named by product and partition only, and without ids."""
    return re.sub(ID, "id", re.sub(TAG, r"\1", text))


def digest_of(folder: Path) -> str:
    """Of names and content of the files, but for what was measured and what follows from it."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if file.name in (*MEASURED, *NAMES_OF_CONTENT):
            continue
        content = b"" if file.suffix in PAGES else file.read_bytes()
        if file.suffix in (".json", ".md", ".csv"):
            content = tagless(content.decode("utf-8")).encode()
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + content)
    return total.hexdigest()[:12]


def tables(lake: Lake) -> Iterator[AssetName]:
    """The tables in the lake whose content is computed."""
    root = Path(lake.root) / PRODUCT
    for log in sorted(root.rglob("_delta_log")):
        name = AssetName(PRODUCT, log.parent.relative_to(root).as_posix())
        if name.asset not in RECORDS:
            yield name


def partitions(lake: Lake) -> Iterator[tuple[str, str]]:
    """The digest of each partition's rows."""
    for name in tables(lake):
        keys: list[str | None] = [*lake.partitions(name)] or [None]
        for key in keys:
            rows = lake.scan(name, None if key is None else [key])
            text = pl.col(pl.String).str.replace_all(TAG, "$1")
            digest = Digest()
            digest.add(rows.drop(ID_COLUMNS, strict=False).with_columns(text).collect())
            yield f"{name.asset} of {key or 'all time'}", digest.hexdigest()[:12]


def artifacts(lake: Lake) -> Iterator[tuple[str, str]]:
    """The digest of each folder of files that a partition points to."""
    root = Path(lake.root) / PRODUCT / "_artifacts"
    for pointers in sorted(root.rglob("pointers")):
        name = AssetName(PRODUCT, pointers.parent.relative_to(root).as_posix())
        keys: list[str | None] = [*lake.artifacts(name)] or [None]
        for key in keys:
            yield f"{name.asset} of {key or 'all time'}", digest_of(lake.artifact(name, key))


def twice(lake: Lake) -> Iterator[str]:
    """Rows that have another's id, and partitions of which more than one file is live."""
    for name in tables(lake):
        rows = lake.scan(name, with_partition=True)
        if "_row_id" in rows.collect_schema().names():
            # A training set holds the rows of its window, so a partition is looked at by itself.
            ids = rows.select(pl.struct(PARTITION, "_row_id")).collect().to_series()
            if ids.n_unique() != len(ids):
                yield f"{name.asset}: {len(ids)} rows with {ids.n_unique()} ids"
        table = delta.open_table(lake.uri(name), {})
        for key, files in delta.files(table).items() if table else ():
            if len(files) > 1:
                yield f"{name.asset} of {'all time' if key == WHOLE else key}: {len(files)} files"


def unended(instance: dg.DagsterInstance) -> Iterator[str]:
    """Runs that are still at work, or failed and were given up."""
    for run in instance.get_runs():
        if run.status not in DONE:
            yield f"{run.run_id} is {run.status.value}"
    for run in failed_runs(instance):
        if RETRIED_BY not in run.tags:
            yield f"{run.run_id} failed and was given up"


def dead(instance: dg.DagsterInstance, kills: list[dict[str, Any]]) -> Iterator[Dead]:
    """What became of the runs whose process was killed before they had ended."""
    for kill in kills:
        record = instance.get_run_record_by_id(kill["run_id"]) if kill["run_id"] else None
        if record is None or record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            continue  # the run's last word came before the kill
        ended, began = record.end_time, retry_began(instance, record.dagster_run)
        yield Dead(
            kill["run_id"],
            None if ended is None else ended - kill["at"],
            None if began is None else began - kill["at"],
        )


def retry_began(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float | None:
    """When a process took up the work of a failed run (seconds since 1970); None if none did.

    A retry that was lost before it had a process is retried as well: the first that had one counts.
    """
    while retry := instance.get_run_by_id(run.tags.get(RETRIED_BY, "")):
        if worker := worker_of(instance, retry.run_id):
            return worker.seen_at
        run = retry
    return None


def lengths(home: Path) -> dict[str, float]:
    """Seconds for which workers were at work in a replay, and for which the daemon was needed."""
    os.environ["DAGSTER_HOME"] = str(home / "dagster")
    with dg.DagsterInstance.get() as instance:
        records = [record for record in instance.get_run_records() if by_daemon(record)]
        spans = [
            (record.create_timestamp.timestamp(), worker.seen_at, record.end_time)
            for record in records
            if (worker := worker_of(instance, record.dagster_run.run_id)) and record.end_time
        ]
    work = sum(end - began for _, began, end in spans)
    return {"worker": work, "daemon": max(end for *_, end in spans) - min(a for a, *_ in spans)}
