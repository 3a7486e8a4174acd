"""Append-only records in the lake: added once each, never changed.

A Delta table with `delta.appendOnly`, which makes every Delta writer refuse to change or remove
what is there. A record is written once, also when several processes write it at the same time: each
commit carries the record's id as an application transaction, and Delta refuses a commit whose
transaction another one has written since it looked (Delta protocol, "Transaction Identifiers").
This holds on object stores too, where no lock does.

A commit is a file, and reading thousands of small ones takes seconds. Every so many of them they
are put together into one; that changes no record, so Delta allows it of an append-only table.

Who decides by what is there may say so: then the record is written only as the next one after what
was read. Two that read the same cannot both be next.

A column that was declared after the table was made is added by the first record that is written
since; in records from before it is null, or what `before` says.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

MOST_FILES = 100
_ATTEMPTS = 20
_TYPES: dict[str, Any] = {
    "string": pl.String,
    "double": pl.Float64,
    "long": pl.Int64,
    "boolean": pl.Boolean,
    "timestamp": pl.Datetime("us", "UTC"),
}


class OutrunError(DataError):
    """Another record has come since the table was read, so nothing was written."""


@dataclass(frozen=True)
class AppendOnly:
    """One such table.

    Attributes:
        lake: Where it lies.
        name: Its name there.
        columns: The type of each column, as Delta calls it.
        key: The column that identifies a record.
        before: What columns that came later hold in the records from before them.
    """

    lake: Lake
    name: AssetName
    columns: Mapping[str, str]
    key: str
    before: Mapping[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> pl.Schema:
        """The columns as polars has them."""
        return pl.Schema({name: _TYPES[kind] for name, kind in self.columns.items()})

    def append(self, record: Mapping[str, Any], after: int | None = None) -> dict[str, Any]:
        """Write the record and return it; or return what is already there under its id.

        Args:
            record: its columns.
            after: how many records there were when it was decided on; None where that is all one.

        Raises:
            OutrunError: there are others by now, and none of them has its id.
            DataError: Other writers left no gap in many attempts.
        """
        for attempt in range(_ATTEMPTS):
            table = self._open() or self._create()
            if known := self._known(table, record[self.key]):
                return known
            if after is not None and (count := self._count(table)) != after:
                raise OutrunError(
                    f"{self.name.path} has {count} records, where {after} were read before this "
                    "one was decided on. Read again, and decide anew."
                )
            if self._commit(table, record, after):
                _put_together(table)
                return dict(record)
            time.sleep(0.01 * (attempt + 1))
        raise DataError(f"{self.name.path} is too busy to append to.")

    def read(self) -> pl.DataFrame:
        """All records; none before the first."""
        table = self._open()
        return pl.DataFrame(schema=self.schema) if table is None else self._rows(table).collect()

    @property
    def _uri(self) -> str:
        return f"{self.lake.root.rstrip('/')}/{self.name.path}"

    def _open(self) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._uri, storage_options=self.lake.storage_options or None)
        except TableNotFoundError:
            return None

    def _create(self) -> Any:
        """The new table, or the one that another process made at the same time."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if "://" not in self._uri:
            Path(self._uri).mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(
                self._uri,
                schema=self._delta_schema(),
                mode="error",
                configuration={"delta.appendOnly": "true"},
                storage_options=self.lake.storage_options or None,
            )
        except DeltaError:
            if table := self._open():
                return table
            raise

    def _delta_schema(self) -> Any:
        from deltalake import Field as Column
        from deltalake import Schema
        from deltalake.schema import PrimitiveType

        columns = self.columns.items()
        return Schema([Column(n, PrimitiveType(kind), nullable=True) for n, kind in columns])

    def _rows(self, table: Any) -> pl.LazyFrame:
        rows, schema = pl.scan_delta(table), self.schema
        there = _columns(table)
        later = [pl.lit(None, t).alias(n) for n, t in schema.items() if n not in there]
        filled = [pl.col(name).fill_null(value) for name, value in self.before.items()]
        rows = rows.with_columns(later).select(schema.names()).cast(schema)
        return rows.with_columns(filled)

    def _known(self, table: Any, key: str) -> dict[str, Any] | None:
        """The record of that id. Whether there is one, the log knows without reading any."""
        if table.transaction_version(str(key)) is None:
            return None
        found = self._rows(table).filter(pl.col(self.key) == key).collect()
        return found.row(0, named=True) if found.height else None

    def _count(self, table: Any) -> int:
        return int(self._rows(table).select(pl.len()).collect().item())

    def _commit(self, table: Any, record: Mapping[str, Any], after: int | None = None) -> bool:
        """Whether it was written; not so when another writer wrote its id, or the record after
        those, meanwhile."""
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        rows = pl.DataFrame([dict(record)], schema=self.schema)
        names = [str(record[self.key]), *([] if after is None else [f"after/{after}"])]
        once = CommitProperties(app_transactions=[Transaction(name, 1) for name in names])
        widens = not _columns(table).issuperset(self.columns)
        try:
            write_deltalake(
                table,
                rows,
                mode="append",
                schema_mode="merge" if widens else None,
                commit_properties=once,
            )
        except CommitFailedError:
            return False
        return True


def _columns(table: Any) -> set[str]:
    return {column.name for column in table.schema().fields}


def _put_together(table: Any) -> None:
    """Let one file take the place of many small ones, now and then."""
    from deltalake.exceptions import CommitFailedError

    if table.get_add_actions().num_rows < MOST_FILES:
        return
    try:
        table.optimize.compact()
    except CommitFailedError:
        return  # another process did
