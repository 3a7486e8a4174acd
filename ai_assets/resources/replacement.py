"""Partitions of a table on their way into the lake: files now, one commit for all at the end."""

from ai_assets.lifecycle.cleaning.identity import Digest
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources import delta
from ai_assets.resources.batches import Rows, batches
from ai_assets.resources.lake import TableVersion


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

    def add(self, key: str, rows: Rows) -> None:
        """Append rows to a partition; a lazy frame or an iterator is never held as a whole."""
        for batch in batches(rows):
            stored = delta.storable(batch, self._name.path)
            self._files.write(key, stored)
            self._digests[key].add(stored)

    def commit(self) -> dict[str, TableVersion]:
        """Make what was added the content of all the partitions, in one commit.

        Raises:
            DataError: the columns differ from those of the table, or there is no column at all.
        """
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
