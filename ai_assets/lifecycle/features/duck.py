"""DuckDB in memory: bounded, in UTC, and shut off from files and network."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import polars as pl

MEMORY_LIMIT = "512MB"


@dataclass(eq=False)
class Streamed:
    """A view's rows: those of the frame that is set when a statement runs, or is bound.

    DuckDB takes a frame itself through pyarrow, which takes long to import.
    """

    frame: "pl.DataFrame"

    def __arrow_c_stream__(self, schema: object = None) -> object:
        return self.frame.__arrow_c_stream__(schema)


@contextmanager
def session(
    memory_limit: str = MEMORY_LIMIT,
    spill: Path | None = None,
    threads: int | None = None,
    *,
    on_disk: bool = False,
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection for the time of a `with` block.

    Args:
        memory_limit: what DuckDB may hold before it writes to the spill folder.
        spill: folder for what does not fit; by default a temporary one, removed at the end.
        threads: by default one for each core.
        on_disk: keep tables in a temporary file too, compressed: for those that are larger than
            `memory_limit`, which would be spilled and read again at each query.
    """
    with tempfile.TemporaryDirectory(prefix="ai_assets_spill_", dir=spill) as temporary:
        file = Path(temporary, "session.duckdb") if on_disk else None
        connection = connect(memory_limit, spill or Path(temporary), threads, file)
        try:
            yield connection
        finally:
            connection.close()


def connect(
    memory_limit: str = MEMORY_LIMIT,
    spill: Path | None = None,
    threads: int | None = None,
    file: Path | None = None,
) -> "duckdb.DuckDBPyConnection":
    """A connection that the caller closes. Without folder and file nothing is written to disk."""
    import duckdb

    connection = duckdb.connect(str(file) if file else ":memory:")
    _set_own(connection)
    connection.execute("SET memory_limit=?", [memory_limit])
    connection.execute("SET temp_directory=?", [str(spill) if spill else ""])
    if threads is not None:
        connection.execute("SET threads=?", [threads])
    # The feature SQL sees the tables it is given: no file, no network, no Python variable.
    connection.execute("SET enable_external_access=false")
    return connection


@contextmanager
def beside(
    connection: "duckdb.DuckDBPyConnection",
) -> Iterator["duckdb.DuckDBPyConnection"]:
    """Another connection to the same database; what it registers, it alone sees."""
    with connection.cursor() as cursor:
        _set_own(cursor)
        yield cursor


def _set_own(connection: "duckdb.DuckDBPyConnection") -> None:
    """The settings that each connection to a database has for itself."""
    connection.execute("SET TimeZone='UTC'")
    connection.execute("SET python_enable_replacements=false")
