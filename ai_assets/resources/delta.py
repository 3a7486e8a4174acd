"""Delta tables below the lake: data files, one commit that names them, and reading them back."""

import errno
import json
import os
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Field, PostCommitHookProperties, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from ai_assets.lifecycle.errors import DataError, did_you_mean

PARTITION = "_partition"
TRIES = 60
OPEN_FILES = 64
SYNCS = 8
_COMMITS = {
    "version": pl.Int64,
    "at": pl.Int64,
    "partition": pl.String,
    "rows": pl.Int64,
    "digest": pl.String,
}
Options = dict[str, str]


@dataclass(frozen=True)
class Written:
    """Data files that no commit names yet, and their columns in Arrow."""

    adds: list[AddAction | RemoveAction]
    schema: pa.Schema


class DataFiles:
    """Writes the rows of partitions to new Parquet files below the table's folder."""

    def __init__(self, uri: str, options: Options, keys: list[str]) -> None:
        self._uri, self._options, self._keys = uri, options, keys
        self._remote = "://" in uri
        self._schema: pa.Schema | None = None
        self._open: dict[str, tuple[pq.ParquetWriter, str, int]] = {}
        self._adds: list[AddAction | RemoveAction] = []
        self._written: set[str] = set()
        self._not_on_disk: list[Path] = []
        self._spare = tempfile.TemporaryDirectory(prefix="ai_assets_") if self._remote else None

    def write(self, key: str, rows: pl.DataFrame) -> None:
        """Append rows to a partition's file."""
        arrow = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._schema is None:
            self._schema = arrow.schema
        elif arrow.schema != self._schema:
            arrow = arrow.select(self._schema.names).cast(self._schema)
        if rows.is_empty():
            return
        writer, path, count = self._open.pop(key) if key in self._open else self._start(key)
        with _naming(self._local(path)):
            writer.write_table(arrow)
        self._open[key] = (writer, path, count + rows.height)
        if len(self._open) > OPEN_FILES:
            self._end(next(iter(self._open)))

    def leave(self, key: str) -> None:
        """Write nothing for a partition."""
        self._keys = [other for other in self._keys if other != key]

    def finish(self, name: str) -> Written:
        """Close all files. A partition without rows gets a file without rows: it is there."""
        if self._schema is None or not self._schema.names:
            raise DataError(f"Rows for {name} must have columns, but got none.")
        for key in list(self._open):
            self._end(key)
        for key in set(self._keys) - self._written:
            self._open[key] = self._start(key)
            self._end(key)
        # A disk that is told of several files at once writes them in one go.
        with ThreadPoolExecutor(SYNCS) as pool:
            list(pool.map(_sync, self._not_on_disk))
        return Written(self._adds, self._schema)

    def _start(self, key: str) -> tuple[pq.ParquetWriter, str, int]:
        path = f"{PARTITION}={quote(key, safe='')}/{uuid.uuid4().hex}.parquet"
        local = self._local(path)
        local.parent.mkdir(parents=True, exist_ok=True)
        return pq.ParquetWriter(local, self._schema, compression="zstd"), path, 0

    def _end(self, key: str) -> None:
        writer, path, count = self._open.pop(key)
        local = self._local(path)
        with _naming(local):
            writer.close()
        size = local.stat().st_size
        if self._remote:
            pl.scan_parquet(local).sink_parquet(
                f"{self._uri}/{path}", storage_options=self._options, compression="zstd"
            )
            local.unlink()
        else:
            self._not_on_disk.append(local)
        stats = json.dumps({"numRecords": count})
        now = int(time.time() * 1000)
        self._written.add(key)
        self._adds.append(AddAction(path, size, {PARTITION: key}, now, True, stats))

    def _local(self, path: str) -> Path:
        return Path(self._spare.name if self._spare else self._uri, path)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """What the disk says against writing, with the file's name: Arrow leaves it out."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(file)) from error


def storable(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with the nearest types that Delta has; times in UTC microseconds.

    Raises:
        DataError: a column has a type that no Delta type can hold.
    """
    casts = []
    for column, kind in frame.schema.items():
        if kind == pl.Null or isinstance(kind, pl.Categorical | pl.Enum | pl.Time):
            casts.append(pl.col(column).cast(pl.String))
        elif kind.is_unsigned_integer():
            wide = pl.Int64 if kind in (pl.UInt32, pl.UInt64) else pl.Int32
            casts.append(pl.col(column).cast(wide))
        elif isinstance(kind, pl.Datetime):
            moment = pl.col(column).dt.cast_time_unit("us")
            casts.append(moment.dt.convert_time_zone("UTC") if kind.time_zone else moment)
        elif isinstance(kind, pl.Duration) or kind in (pl.Object, pl.Int128, pl.UInt128):
            raise DataError(
                f"Column '{column}' of {name} must be text, a number, a truth value, a date or an "
                f"instant to be stored, but got {kind}. Cast it first."
            )
    return frame.with_columns(casts) if casts else frame


def open_table(uri: str, options: Options, version: int | None = None) -> DeltaTable | None:
    """The table at an address, or None if none is there."""
    if "://" not in uri and not Path(uri, "_delta_log").is_dir():
        return None
    try:
        return DeltaTable(uri, version=version, storage_options=options or None)
    except TableNotFoundError:
        return None
    except DeltaError as error:
        if version is None:
            raise
        raise DataError(f"{uri} has no version {version}: {error}") from error


def files(table: DeltaTable) -> dict[str, list[str]]:
    """The data files of each partition, as paths or URLs that polars reads."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty():
        return {}
    base = table.table_uri.rstrip("/").removeprefix("file://")
    found: dict[str, list[str]] = {}
    for path, key in zip(actions["path"], actions[f"partition.{PARTITION}"], strict=True):
        found.setdefault(key, []).append(f"{base}/{unquote(path)}")
    return found


def counts(table: DeltaTable) -> dict[str, int]:
    """The rows of each partition, as its files' statistics tell; no file is opened."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    if actions.is_empty():
        return {}
    keys = pl.col(f"partition.{PARTITION}")
    found = actions.group_by(keys).agg(pl.col("num_records").sum())
    return dict(found.iter_rows())


def scan(
    table: DeltaTable, files: Mapping[str, list[str]], options: Options, *, with_partition: bool
) -> pl.LazyFrame:
    """The rows of the files; a column that a file is older than is null."""
    schema = polars_schema(table)
    paths = [path for key in files for path in files[key]]
    if not paths:
        kept = schema if with_partition else {k: v for k, v in schema.items() if k != PARTITION}
        return pl.DataFrame(schema=kept).lazy()
    rows = pl.scan_parquet(
        paths,
        glob=False,
        hive_partitioning=False,
        schema={name: kind for name, kind in schema.items() if name != PARTITION},
        missing_columns="insert",
        include_file_paths=_PATH if with_partition else None,
        storage_options=options or None,
    )
    if not with_partition:
        return rows
    keys = {path: key for key, of_key in files.items() for path in of_key}
    key = pl.col(_PATH).replace_strict(list(keys), list(keys.values()), return_dtype=pl.String)
    return rows.with_columns(key.alias(PARTITION)).drop(_PATH)


_PATH = "_file_path"


def commits(table: DeltaTable) -> pl.DataFrame:
    """A row a commit and partition that it replaced, oldest first; `at` is UTC."""
    rows = [
        (commit["version"], commit["timestamp"], key, told["rows"], told["digest"])
        for commit in table.history()
        for key, told in json.loads(commit.get("ai_assets", "{}")).items()
    ]
    frame = pl.DataFrame(rows, schema=_COMMITS, orient="row").sort("version", "partition")
    return frame.with_columns(pl.from_epoch("at", "ms").dt.replace_time_zone("UTC"))


def polars_schema(table: DeltaTable) -> pl.Schema:
    """The columns of a table, `_partition` included, in polars' types."""
    return pl.Schema(table.schema().to_arrow())


def commit(
    uri: str,
    options: Options,
    written: Written,
    keys: list[str],
    metadata: dict[str, Any],
    *,
    admit: bool,
    name: str,
) -> int:
    """Make the files the content of the partitions, in one commit; returns its version.

    Where the newest commit wrote just that content, it is this one, made before: by a process that
    was killed ere it could say so. Nothing is written twice then, and versions do not tell of it.

    Raises:
        DataError: the columns differ from the table's, and `admit` does not let them.
    """
    new = Schema.from_arrow(pa.schema([*written.schema, pa.field(PARTITION, pa.string())]))
    for attempt in range(TRIES):
        table = open_table(uri, options) or _create(uri, options, new)
        schema, before = _agreed(table, new, keys, admit=admit, name=name), table.version()
        if schema == table.schema() and _newest_content(table) == metadata:
            return before
        try:
            table.create_write_transaction(
                written.adds,
                "overwrite",
                schema,
                [PARTITION],
                [(PARTITION, "in", keys)],
                # Any commit that came first refuses ours: it was prepared on an older table.
                commit_properties=CommitProperties(
                    max_commit_retries=0, custom_metadata={"ai_assets": json.dumps(metadata)}
                ),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
            return before + 1
        except CommitFailedError:
            if attempt == TRIES - 1:
                raise
            time.sleep(random.uniform(0, min(0.01 * 2**attempt, 1.0)))
    raise AssertionError("unreachable")


def _newest_content(table: DeltaTable) -> Any:
    """What the newest commit says of the partitions that it replaced; None if it replaced none."""
    told = table.history(1)
    if len(told) != 1 or told[0]["version"] != table.version():
        return None  # another writer has come first, and a commit of ours will be refused
    return json.loads(told[0].get("ai_assets", "null"))


def _create(uri: str, options: Options, schema: Schema) -> DeltaTable:
    if "://" not in uri:
        Path(uri).mkdir(parents=True, exist_ok=True)
    try:
        return DeltaTable.create(
            uri, schema, mode="error", partition_by=[PARTITION], storage_options=options or None
        )
    except (DeltaError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST):
            raise
        # Another writer created it between our look and our attempt.
        if (table := open_table(uri, options)) is None:
            raise
        return table


def _agreed(table: DeltaTable, new: Schema, keys: list[str], *, admit: bool, name: str) -> Schema:
    """The schema of the table after the write, or an error that says how to admit the change.

    A column that was admitted to go stays for the partitions that have it. It is marked, so that
    no later write is asked for it.
    """
    old = {field.name: field for field in table.schema().fields}
    given = {field.name: field for field in new.fields}
    went = {n for n, field in old.items() if field.metadata.get(_WENT)}
    changed = [n for n in given if n in old and given[n].type != old[n].type]
    added = [n for n in given if n not in old or (n in went and n not in changed)]
    gone = [n for n in old if n not in given and n not in went]
    if not (added or gone or changed):
        return table.schema()
    present = set(files(table))
    if not present:
        return new
    if not admit:
        raise DataError(_difference(name, old, given, added, gone, changed))
    if present <= set(keys):
        return new
    if changed:
        raise DataError(
            _difference(name, old, given, [], [], changed)
            + f"\nOther partitions hold the old type, so all {len(present)} must be replaced in "
            "one run, or the table's folder be moved away first."
        )
    kept = [
        Field(
            n,
            field.type,
            nullable=field.nullable,
            metadata={} if n in given else {_WENT: "true"},
        )
        for n, field in old.items()
    ]
    return Schema([*kept, *(given[n] for n in added if n not in old)])


_WENT = "ai_assets.went"
"""Marks a column of the table that newer partitions lack, as somebody admitted."""


def _difference(
    name: str,
    old: Mapping[str, Any],
    given: Mapping[str, Any],
    added: list[str],
    gone: list[str],
    changed: list[str],
) -> str:
    parts = [f"new column '{n}' ({_kind(given[n])}).{did_you_mean(n, gone)}" for n in added]
    parts += [f"no column '{n}'." for n in gone]
    parts += [f"'{n}' as {_kind(given[n])}, not {_kind(old[n])}." for n in changed]
    columns = ", ".join(f"'{n}'" for n in old if n != PARTITION)
    return (
        f"Rows for {name} must have the columns of the table in the lake ({columns}), but got "
        + " ".join(parts)
        + "\nIf the change is meant, admit it: set AI_ASSETS_ADMIT_NEW_COLUMNS=1 for this run. "
        "Partitions that lack a column then read as null there."
    )


def _kind(field: Any) -> str:
    return str(getattr(field.type, "type", field.type))


def _sync(path: Path) -> None:
    """Bring the bytes to the disk before a commit names them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
