"""Files of the batch command: read and written piece by piece, so that memory stays bounded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.schema.notation import CsvForm

ROW, REASON, LINE = "_row", "_reason", "_line"
ENDS = ("interval_low", "interval_high")
_BLOCK = 1 << 24
# pyarrow counts the header as line 1.
_FIRST = 2


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a file.

    Attributes:
        rows: the columns as the file has them, and `_row`, counted from 0.
        broken: lines of a CSV that are no rows: `_row`, `_reason`, `_line`.
    """

    rows: pl.DataFrame
    broken: pl.DataFrame


@dataclass
class Input:
    """A Parquet or CSV file to score.

    Args:
        path: the file; its ending says of which kind it is.
        chunk: rows of a piece, at most.
        form: how it is written, if it is a CSV.
    """

    path: Path
    chunk: int
    form: CsvForm = field(default_factory=CsvForm)
    columns: list[str] = field(init=False)
    height: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.path.suffix not in (".parquet", ".csv"):
            raise DataError(must_be("The input", "a .parquet or .csv file", self.path.name))
        if not self.path.is_file():
            raise DataError(f"There is no file '{self.path}'.")
        with self._reading():
            self.columns = self._parquet_columns() if self.of_parquet else self._csv_columns()
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise DataError(f"{self.path.name} has the column '{twice[0]}' twice.")
        for name in (ROW, REASON, LINE):
            if name in self.columns:
                raise DataError(f"{self.path.name} must not have a column '{name}'.")

    @property
    def of_parquet(self) -> bool:
        """Whether columns have types; those of CSV are texts."""
        return self.path.suffix == ".parquet"

    def pieces(self) -> Iterator[Piece]:
        """The file's rows, in order.

        Raises:
            DataError: the file cannot be read to its end.
        """
        with self._reading():
            yield from self._parquet_pieces() if self.of_parquet else self._csv_pieces()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError, LookupError) as error:
            raise DataError(f"{self.path.name} cannot be read: {error}") from error

    def _parquet_columns(self) -> list[str]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            self.height = file.metadata.num_rows
            return list(file.schema_arrow.names)

    def _parquet_pieces(self) -> Iterator[Piece]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            at = 0
            for batch in file.iter_batches(batch_size=self.chunk):
                rows = pl.DataFrame(pl.from_arrow(batch))
                yield Piece(_numbered(rows, range(at, at + rows.height)), _broken([]))
                at += rows.height

    def _csv_columns(self) -> list[str]:
        import csv

        with self.path.open(encoding=self.form.encoding, newline="") as file:
            # A mark of the byte order is no part of the first name.
            if file.read(1) != "\ufeff":
                file.seek(0)
            return next(csv.reader(file, delimiter=self.form.delimiter), [])

    def _csv_pieces(self) -> Iterator[Piece]:
        import pyarrow as pa
        from pyarrow import csv

        lines = _Lines()
        options = csv.ConvertOptions(
            column_types=dict.fromkeys(self.columns, pa.string()),
            # As where a source is read, nothing is no value, whatever else means that.
            null_values=["", *self.form.missing],
            strings_can_be_null=True,
        )
        reading = csv.ReadOptions(block_size=_BLOCK, use_threads=False, encoding=self.form.encoding)
        parsing = csv.ParseOptions(
            delimiter=self.form.delimiter, invalid_row_handler=lines.skip, newlines_in_values=True
        )
        rows = pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String()))
        with csv.open_csv(
            self.path, read_options=reading, parse_options=parsing, convert_options=options
        ) as file:
            for batch in file:
                rows = pl.DataFrame(pl.from_arrow(batch))
                for piece in rows.iter_slices(self.chunk):
                    yield Piece(_numbered(piece, lines.next(piece.height)), lines.broken())
        yield Piece(_numbered(rows.clear(), []), lines.broken())


class _Lines:
    """Numbers the rows of a CSV, and keeps lines that are none."""

    def __init__(self) -> None:
        self._at = 0
        self._skipped: set[int] = set()
        self._broken: list[tuple[int, str, str]] = []

    def skip(self, line: Any) -> str:
        """What pyarrow is to do with a line of too many or too few values."""
        number = line.number - _FIRST
        words = f"The line has {line.actual_columns} values, not {line.expected_columns}."
        self._skipped.add(number)
        self._broken.append((number, words, line.text))
        return "skip"

    def next(self, count: int) -> list[int]:
        """Numbers of the next rows. Lines are read before rows, so what is skipped is known."""
        found: list[int] = []
        while len(found) < count:
            if self._at not in self._skipped:
                found.append(self._at)
            self._at += 1
        return found

    def broken(self) -> pl.DataFrame:
        """The broken lines since the last call."""
        found, self._broken = _broken(self._broken), []
        return found


class Output:
    """A Parquet file that appears when it is whole.

    Args:
        path: where it appears.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._writer: Any = None
        self.rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; their columns are those of the first."""
        import pyarrow.parquet as pq

        table = frame.to_arrow()
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._part, table.schema, compression="zstd")
        self._writer.write_table(table.cast(self._writer.schema))
        self.rows += frame.height

    def finish(self) -> None:
        """Let the file appear, in place of one of before. Without a frame there is none."""
        if self._writer is None:
            self._path.unlink(missing_ok=True)
            return
        self._writer.close()
        self._part.replace(self._path)

    def give_up(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.close()
        self._part.unlink(missing_ok=True)


def _numbered(rows: pl.DataFrame, numbers: Sequence[int]) -> pl.DataFrame:
    return rows.insert_column(0, pl.Series(ROW, numbers, pl.Int64))


def _broken(lines: list[tuple[int, str, str]]) -> pl.DataFrame:
    schema = {ROW: pl.Int64(), REASON: pl.String(), LINE: pl.String()}
    return pl.DataFrame(lines, schema=schema, orient="row")
