"""The lake: every table a Delta table, a partition replaced whole in one commit.

Files are written first and named in one commit afterwards, so whoever reads sees all of a
partition or the one before, and a writer that is killed leaves nothing that anyone reads. A commit
is refused when another came first; it is then tried again upon the newer table.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import DataError, MissingPartitionsError, must_be
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import artifacts
from ai_assets.resources.artifacts import ArtifactVersion
from ai_assets.serving.online import lake_root
from ai_assets.serving.place import state_root

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

    from ai_assets.resources.batches import Rows
    from ai_assets.resources.replacement import Replacement
    from ai_assets.resources.snapshot import Snapshot

PARTITION = "_partition"
WHOLE = "_all"
ADMIT = "AI_ASSETS_ADMIT_NEW_COLUMNS"


@dataclass(frozen=True)
class TableVersion:
    """What a write left: the Delta version, the rows written and the digest of their content."""

    version: int
    rows: int
    digest: str


class Lake(dg.ConfigurableResource):
    """Tables and artifacts of all products, by asset name and partition key."""

    root: str = Field(
        default_factory=lake_root,
        description="Folder or URL of the lake; default: $AI_ASSETS_LAKE, or below the state root.",
    )
    storage_options: dict[str, str] = Field(
        default_factory=dict, description="Credentials and endpoint of an object store."
    )
    artifact_root: str = Field(
        default="",
        description="Local folder of the artifacts; default: the root, or `lake` below the state "
        "root where the root is a URL.",
    )

    def replace(
        self,
        name: AssetName,
        frame: "Rows",
        partition: str | None = None,
        *,
        admit_new_columns: bool | None = None,
    ) -> TableVersion:
        """Replace one partition (the whole table for None) with the rows, atomically.

        Args:
            name: the asset.
            frame: the rows; a lazy frame or an iterator is never held in memory as a whole.
            partition: the key, or None for a table without partitions.
            admit_new_columns: let columns come or go; default: the variable
                AI_ASSETS_ADMIT_NEW_COLUMNS.

        Raises:
            DataError: the columns differ from those of the table, or there is no column at all.
        """
        key = partition or WHOLE
        table = self.replacing(name, [key], admit_new_columns=admit_new_columns)
        table.add(key, frame)
        return table.commit()[key]

    def replace_many(
        self,
        name: AssetName,
        frame: "Rows",
        partitions: list[str],
        *,
        admit_new_columns: bool | None = None,
    ) -> dict[str, TableVersion]:
        """Replace several partitions in one commit; the column `_partition` says whose a row is.

        Raises:
            DataError: rows of a partition that is not listed, or as `replace`.
        """
        from ai_assets.resources.batches import batches, by_partition

        table = self.replacing(name, partitions, admit_new_columns=admit_new_columns)
        for batch in batches(frame):
            for key, part in by_partition(batch, partitions, name):
                table.add(key, part)
        return table.commit()

    def replacing(
        self, name: AssetName, partitions: list[str], *, admit_new_columns: bool | None = None
    ) -> "Replacement":
        """New content of partitions, to which rows are added until it is committed at once."""
        from ai_assets.resources.replacement import Replacement

        admit = _admitted() if admit_new_columns is None else admit_new_columns
        return Replacement(name, self.uri(name), self.storage_options, partitions, admit=admit)

    def scan(
        self,
        name: AssetName,
        partitions: list[str] | None = None,
        version: int | None = None,
        *,
        with_partition: bool = False,
    ) -> "pl.LazyFrame":
        """The rows of the given partitions (all for None), as of a version (the newest for None).

        Raises:
            MissingPartitionsError: the table, or one of the partitions, is not in the lake.
        """
        return self.snapshot(name, version).scan(partitions, with_partition=with_partition)

    def snapshot(self, name: AssetName, version: int | None = None) -> "Snapshot":
        """A version of the table (the newest for None), opened once for several looks at it.

        Raises:
            MissingPartitionsError: the table is not in the lake.
        """
        from ai_assets.resources.snapshot import Snapshot

        return Snapshot(name, self._table(name, version), self.storage_options)

    def partitions(self, name: AssetName) -> list[str]:
        """The keys that are in the lake, sorted; empty partitions too. Never raises."""
        from ai_assets.resources import delta

        table = delta.open_table(self.uri(name), self.storage_options)
        return [] if table is None else sorted(k for k in delta.files(table) if k != WHOLE)

    def exists(self, name: AssetName, partition: str | None = None) -> bool:
        """Whether a partition was written, with or without rows; the table itself for None."""
        from ai_assets.resources import delta

        table = delta.open_table(self.uri(name), self.storage_options)
        if table is None:
            return False
        keys = set(delta.files(table))
        return bool(keys) if partition is None else partition in keys

    def counts(self, name: AssetName) -> dict[str, int]:
        """The rows of each partition that is in the lake; the whole table's by WHOLE."""
        from ai_assets.resources import delta

        table = delta.open_table(self.uri(name), self.storage_options)
        return {} if table is None else delta.counts(table)

    def version(self, name: AssetName) -> int:
        """The newest Delta version of the table.

        Raises:
            MissingPartitionsError: the table is not in the lake.
        """
        return self._table(name, None).version()

    def commits(self, name: AssetName) -> "pl.DataFrame":
        """Who wrote what when: a row a commit and partition that it replaced, oldest first.

        Columns: `version`, `at` (UTC), `partition`, `rows`, `digest`.

        Raises:
            MissingPartitionsError: the table is not in the lake.
        """
        from ai_assets.resources import delta

        return delta.commits(self._table(name, None))

    def digest(
        self, name: AssetName, partition: str | None = None, version: int | None = None
    ) -> str:
        """The digest of a partition's content (of all rows for None), as `replace` gave it."""
        from ai_assets.lifecycle.cleaning.identity import Digest
        from ai_assets.resources.batches import batches

        rows = self.scan(name, None if partition is None else [partition], version)
        digest = Digest()
        for batch in batches(rows):
            digest.add(batch)
        return digest.hexdigest()

    def vacuum(self, name: AssetName, *, keep_hours: float = 168) -> list[str]:
        """Remove files that no version of the last hours uses; returns their names.

        With 0 hours the bytes of replaced partitions are gone for good, and so is time travel.
        No writer may be at work on the table then.
        """
        return self._table(name, None).vacuum(
            retention_hours=int(keep_hours), enforce_retention_duration=False, dry_run=False
        )

    def save_artifact(
        self, name: AssetName, partition: str | None, folder: Path
    ) -> ArtifactVersion:
        """Copy a folder of files in, and make it the partition's artifact, atomically."""
        return artifacts.save(self._artifact_base(name), partition or WHOLE, Path(folder))

    def artifact(self, name: AssetName, partition: str | None = None) -> Path:
        """The folder of a partition's artifact. Not to be written to.

        Raises:
            MissingPartitionsError: none was saved.
        """
        return artifacts.find(self._artifact_base(name), partition or WHOLE, name.path)

    def artifacts(self, name: AssetName) -> list[str]:
        """The keys of the partitions that have an artifact, sorted."""
        return sorted(k for k in artifacts.keys(self._artifact_base(name)) if k != WHOLE)

    def unfinished(self, name: AssetName, partition: str | None = None) -> Path:
        """A file for the state of work on an artifact, so that it goes on after a kill."""
        return artifacts.unfinished(self._artifact_base(name), partition or WHOLE)

    def uri(self, name: AssetName) -> str:
        """Where the table lies: a path, or a URL below a remote root."""
        return f"{self._base()}/{name.path}"

    def _base(self) -> str:
        return self.root.rstrip("/") if _is_remote(self.root) else str(Path(self.root).absolute())

    def _artifact_base(self, name: AssetName) -> Path:
        root = self.artifact_root or self.root
        if _is_remote(root):
            if self.artifact_root:
                raise DataError(must_be("lake.artifact_root", "a local folder", root))
            root = str(state_root() / "lake")
        return Path(root).absolute() / name.product / "_artifacts" / name.asset

    def _table(self, name: AssetName, version: int | None) -> "DeltaTable":
        from ai_assets.resources import delta

        table = delta.open_table(self.uri(name), self.storage_options, version)
        if table is None:
            raise MissingPartitionsError(
                f"{name.path} is not in the lake ({self.root}) yet. Materialize it first:\n"
                "  dagster asset materialize -m ai_assets.definitions "
                f"--select 'key:\"{name.path}\"'"
            )
        return table


def _is_remote(root: str) -> bool:
    return "://" in root


def _admitted() -> bool:
    return os.environ.get(ADMIT, "").lower() in ("1", "true", "yes")


def write_metadata(written: TableVersion, schema: "pl.Schema") -> dict[str, Any]:
    """Dagster metadata of a write: rows, columns and version."""
    columns = [dg.TableColumn(name, str(kind)) for name, kind in schema.items()]
    return {
        "dagster/row_count": written.rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "delta_version": written.version,
    }
