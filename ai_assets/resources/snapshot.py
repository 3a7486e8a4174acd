"""One version of a table of the lake: which partitions it has, and their rows."""

from functools import cached_property

import polars as pl
from deltalake import DeltaTable

from ai_assets.lifecycle.errors import MissingPartitionsError, did_you_mean
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta


class Snapshot:
    """A table as it was when it was opened; what is written afterwards is not seen."""

    def __init__(self, name: AssetName, table: DeltaTable, options: delta.Options) -> None:
        self._name, self._table, self._options = name, table, options

    @cached_property
    def files(self) -> dict[str, list[str]]:
        """The data files of each partition."""
        return delta.files(self._table)

    def scan(
        self, partitions: list[str] | None = None, *, with_partition: bool = False
    ) -> pl.LazyFrame:
        """The rows of the given partitions, all for None.

        Raises:
            MissingPartitionsError: one of the partitions is not in the table.
        """
        files = self.files
        if partitions is not None:
            self._check_present(partitions)
            files = {key: files[key] for key in partitions}
        return delta.scan(self._table, files, self._options, with_partition=with_partition)

    def _check_present(self, wanted: list[str]) -> None:
        if missing := sorted(set(wanted) - set(self.files)):
            raise MissingPartitionsError(
                f"{self._name.path} lacks {len(missing)} partition(s): {', '.join(missing)}."
                f"{did_you_mean(missing[0], self.files)}"
            )
