"""Partitions of a table on their way into the lake: files now, one commit for all at the end."""

from concurrent.futures import ThreadPoolExecutor

import polars as pl

from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta
from ai_assets.resources.batches import Rows, batches
from ai_assets.resources.lake import TableVersion

# Of fewer rows both are done before a thread is awake.
ROWS_WORTH_A_THREAD = 5_000


class Replacement:
    """New content of some partitions of a table, which nobody sees before `commit`.

    A partition that gets no rows is empty afterwards, not gone. Whatever was written and is not
    committed lies in the table's folder until it is vacuumed, and is read by nobody.
    """

    def __init__(
        self, name: AssetName, uri: str, options: delta.Options, keys: list[str], *, admit: bool
    ) -> None:
        self._name, self._uri, self._options = name, uri, options
        self._keys, self._admit = keys, admit
        self._files = delta.DataFiles(uri, options, keys)
        self._digests = {key: Digest() for key in keys}
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="lake")

    def add(self, key: str, rows: Rows) -> None:
        """Append rows to a partition; a lazy frame or an iterator is never held as a whole."""
        for batch in batches(rows):
            self._add(key, delta.storable(batch, self._name.path))

    def leave(self, key: str) -> None:
        """Have a partition stay as it is; one to which nothing was added."""
        self._keys = [other for other in self._keys if other != key]
        self._files.leave(key)
        del self._digests[key]

    def _add(self, key: str, rows: pl.DataFrame) -> None:
        """Write and digest rows, one beside the other where they are many."""
        if rows.height < ROWS_WORTH_A_THREAD:
            self._files.write(key, rows)
            self._digests[key].add(rows)
            return
        # A frame of its own over the same values: polars locks a frame while it becomes Arrow, with
        # Python's lock in hand, and while its types are told, which takes Python's lock. Two
        # threads that do so with one frame may wait for each other for ever.
        written = self._beside.submit(self._files.write, key, rows.clone())
        try:
            self._digests[key].add(rows)
        finally:
            written.result()

    def commit(self) -> dict[str, TableVersion]:
        """Make what was added the content of all the partitions but those left, in one commit.

        Raises:
            DataError: the columns differ from those of the table, or there is no column at all.
        """
        self._beside.shutdown()
        if not self._keys:
            return {}
        written = self._files.finish(self._name.path)
        content = {key: (d.rows, d.hexdigest()) for key, d in self._digests.items()}
        metadata = {key: {"rows": rows, "digest": said} for key, (rows, said) in content.items()}
        version = delta.commit(
            self._uri,
            self._options,
            written,
            self._keys,
            metadata,
            admit=self._admit,
            name=self._name.path,
        )
        return {key: TableVersion(version, rows, said) for key, (rows, said) in content.items()}
