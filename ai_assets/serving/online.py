"""The time-varying tables that the server reads from the lake: newest version, and its age."""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import DataError
from ai_assets.serving.place import state_root

if TYPE_CHECKING:
    import polars as pl

LAKE = "AI_ASSETS_LAKE"


class OnlineError(DataError):
    """A time-varying table cannot be read now; the server answers again when it can.

    Attributes:
        table: which one, as a bundle names its place in the lake; empty where it may be any.
    """

    table: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One version of a table. `written_at` is in seconds since 1970."""

    frame: "pl.DataFrame"
    version: str
    written_at: float

    def shown(self) -> dict[str, Any]:
        """What each answer says of the table."""
        age = max(0.0, time.time() - self.written_at)
        return {"version": self.version, "age_seconds": round(age, 3)}


def lake_root() -> str:
    """`$AI_ASSETS_LAKE`, or the lake below the state root."""
    return os.environ.get(LAKE) or str(state_root() / "lake")


class OnlineTables:
    """Reads the tables that a bundle names, each a Delta table or a Parquet file.

    Args:
        root: folder or URL of the lake.
        tables: for each table `path`, relative to the root.
    """

    def __init__(self, root: str, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._root = root.rstrip("/")
        self._tables = tables
        self._read: dict[str, Snapshot] = {}

    def newest(self) -> dict[str, Snapshot]:
        """The newest snapshot of each table. What did not change is not read again.

        Raises:
            OnlineError: a table is missing or cannot be read.
        """
        self._read = {name: self._one(name, str(t["path"])) for name, t in self._tables.items()}
        return self._read

    def _one(self, name: str, path: str) -> Snapshot:
        known = self._read.get(name)
        place = f"{self._root}/{path}"
        try:
            if Path(place).is_file():
                return _parquet(Path(place), known)
            return _delta(place, known)
        except OnlineError as error:
            error.table = path
            raise
        except Exception as error:  # deltalake, polars and object stores raise many kinds
            unreadable = OnlineError(
                f"The table at {place} cannot be read: {str(error)[:300]} "
                f"Materialize it, or set {LAKE} to the lake's root."
            )
            unreadable.table = path
            raise unreadable from error


def _delta(place: str, known: Snapshot | None) -> Snapshot:
    import polars as pl
    from deltalake import DeltaTable

    if "://" not in place and not Path(place, "_delta_log").is_dir():
        raise OnlineError(f"There is no table at {place}. Materialize it, or set {LAKE}.")
    table = DeltaTable(place)
    # A table that was made anew begins at version 0 again, so the version alone is not enough.
    commit = table.history(1)[0]
    written = float(commit["timestamp"]) / 1000
    version = str(table.version())
    if known is not None and (known.version, known.written_at) == (version, written):
        return known
    files = table.file_uris()
    if not files:
        raise OnlineError(f"The table at {place} has no rows yet. Materialize it.")
    return Snapshot(pl.read_parquet(files, hive_partitioning=False, glob=False), version, written)


def _parquet(path: Path, known: Snapshot | None) -> Snapshot:
    changed = path.stat().st_mtime
    if known is not None and known.written_at == changed:
        return known
    import polars as pl

    content = path.read_bytes()
    version = hashlib.sha256(content).hexdigest()[:12]
    return Snapshot(pl.read_parquet(content), version, changed)
