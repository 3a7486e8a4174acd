"""Rows set aside between two passes: in memory while few, in a temporary file when many."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    import pyarrow as pa

IN_MEMORY = 32 * 2**20
Frames = Iterator[pl.DataFrame]


class Spool:
    """Frames of one schema, kept in the order in which they came.

    Above `in_memory` bytes they move to a temporary file, which lasts as long as the spool or any
    lazy frame over it does.
    """

    def __init__(self, schema: pl.Schema, in_memory: int = IN_MEMORY) -> None:
        self.schema = schema
        self.rows = 0
        self._in_memory = in_memory
        self._frames: list[pl.DataFrame] = []
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._writer: pa.RecordBatchFileWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows; their columns must be those of the schema."""
        if frame.is_empty():
            return
        self.rows += frame.height
        self._frames.append(frame)
        self._bytes += int(frame.estimated_size())
        if self._bytes > self._in_memory:
            self._spill()

    def frames(self) -> Frames:
        """All rows, in batches. Nothing may be added afterwards."""
        if self._folder is not None:
            import pyarrow as pa

            self._spill()
            self._close()
            # Not mapped: pages of a map that were read count as memory of the process.
            with pa.OSFile(str(self._path)) as file:
                reader = pa.ipc.open_file(file)
                for index in range(reader.num_record_batches):
                    yield _as_frame(reader.get_batch(index), self.schema)
        yield from self._frames

    def lazy(
        self, finish: Callable[[Frames], Frames] | None = None, schema: pl.Schema | None = None
    ) -> pl.LazyFrame:
        """A lazy frame over the rows, batch by batch through `finish`, which gives `schema`."""

        def read(
            columns: list[str] | None, where: pl.Expr | None, limit: int | None, _: int | None
        ) -> Frames:
            for frame in finish(self.frames()) if finish else self.frames():
                kept = frame if where is None else frame.filter(where)
                kept = kept if limit is None else kept.head(limit)
                yield kept if columns is None else kept.select(columns)
                if limit is not None and (limit := limit - kept.height) <= 0:
                    return

        return register_io_source(read, schema=schema or self.schema)

    @property
    def _path(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name, "rows.arrow")

    def _spill(self) -> None:
        import pyarrow as pa

        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ai_assets_")
        for frame in self._frames:
            arrow = frame.to_arrow()
            if self._writer is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_file(str(self._path), arrow.schema, options=options)
            self._writer.write_table(arrow)
        self._frames, self._bytes = [], 0

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _as_frame(batch: "pa.RecordBatch", schema: pl.Schema) -> pl.DataFrame:
    import pyarrow as pa

    frame = pl.DataFrame(pa.Table.from_batches([batch]))
    return frame if frame.schema == schema else frame.cast(schema)
