"""The release ledger: what was in production when, and why. Entries are added, never changed.

A Delta table at `<lake root>/<product>/release` with `delta.appendOnly`, which makes every Delta
writer refuse to change or remove what is there. A decision is recorded once, also when several
processes record it at the same time: each commit carries the decision's id as an application
transaction, and Delta refuses a commit whose transaction another one has written since it looked
(Delta protocol, "Transaction Identifiers"). This holds on object stores too, where no lock does.
"""

import dataclasses
import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

_INSTANT = pl.Datetime("us", "UTC")
_COLUMNS: dict[str, Any] = {
    "release_id": pl.String,
    "product": pl.String,
    "effective_from": _INSTANT,
    "recorded_at": _INSTANT,
    "stable": pl.String,
    "candidate": pl.String,
    "split": pl.Float64,
    "decision_id": pl.String,
    "cause": pl.String,
    "who": pl.String,
    "why": pl.String,
    "gate": pl.String,
}
SCHEMA = pl.Schema(_COLUMNS)

_ATTEMPTS = 20


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes:
        product: Name of the product.
        effective_from: From when on it is in production, in event time (UTC).
        recorded_at: When it was written down (UTC); given by the caller.
        stable: Tag of the bundle that serves.
        decision_id: The decision behind it; recorded once, however often it is appended.
        cause: Why there was a decision, in a word or two.
        who: Who or what decided.
        why: Why, for people.
        candidate: Tag of the bundle that is tried beside the stable one, if any.
        split: Share of traffic that the candidate gets, 0 to 1.
        gate: The gate's answer as JSON; empty if it was not asked.
        release_id: Made from product and decision unless given.
    """

    product: str
    effective_from: datetime
    recorded_at: datetime
    stable: str
    decision_id: str
    cause: str
    who: str
    why: str
    candidate: str | None = None
    split: float = 0.0
    gate: str = ""
    release_id: str = ""

    def __post_init__(self) -> None:
        for name in ("effective_from", "recorded_at"):
            moment = getattr(self, name)
            if moment.tzinfo is None:
                raise DataError(must_be(name, "a moment with a time zone", moment))
            object.__setattr__(self, name, moment.astimezone(UTC))
        for name in ("stable", "decision_id"):
            if not getattr(self, name):
                raise DataError(must_be(name, "a name", getattr(self, name)))
        if not 0 <= self.split <= 1:
            raise DataError(must_be("split", "between 0 and 1", self.split))
        if self.candidate is None and self.split:
            raise DataError(must_be("split without a candidate", "0", self.split))
        if not self.release_id:
            told = f"{self.product}\n{self.decision_id}".encode()
            object.__setattr__(self, "release_id", hashlib.sha256(told).hexdigest()[:16])


class ReleaseLedger(dg.ConfigurableResource):
    """The releases of all products, in the given lake."""

    lake: Lake

    def append(self, entry: Entry) -> Entry:
        """Record the entry and return it; or return what is already recorded of its decision.

        Raises:
            DataError: Other writers left no gap in many attempts.
        """
        uri = self._uri(entry.product)
        for attempt in range(_ATTEMPTS):
            table = self._open(uri) or self._create(uri)
            if known := _of_decision(_read(table), entry.decision_id):
                return known
            if _commit(table, entry):
                return entry
            time.sleep(0.01 * (attempt + 1))
        raise DataError(f"The release ledger of {entry.product} is too busy to append to.")

    def as_of(
        self, product: str, moment: datetime, recorded_before: datetime | None = None
    ) -> Entry | None:
        """What was in production at the moment (event time); None before the first release.

        Args:
            product: Name of the product.
            moment: The moment of event time, with a time zone. An entry counts from its own on.
            recorded_before: Look only at what had been written down before then: what one
                believed, where a later correction says otherwise.
        """
        if moment.tzinfo is None:
            raise DataError(must_be("moment", "a moment with a time zone", moment))
        entries = self.history(product).filter(pl.col("effective_from") <= moment)
        if recorded_before is not None:
            entries = entries.filter(pl.col("recorded_at") < recorded_before)
        return Entry(**entries.row(-1, named=True)) if entries.height else None

    def history(self, product: str) -> pl.DataFrame:
        """All entries by when they took effect; of one moment the last recorded comes last."""
        table = self._open(self._uri(product))
        if table is None:
            return pl.DataFrame(schema=SCHEMA)
        return _read(table).sort("effective_from", "recorded_at", "release_id")

    def _uri(self, product: str) -> str:
        return f"{self.lake.root.rstrip('/')}/{AssetName(product, 'release').path}"

    def _open(self, uri: str) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(uri, storage_options=self.lake.storage_options or None)
        except TableNotFoundError:
            return None

    def _create(self, uri: str) -> Any:
        """The new table, or the one that another process made at the same time."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if "://" not in uri:
            Path(uri).mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(
                uri,
                schema=_schema(),
                mode="error",
                configuration={"delta.appendOnly": "true"},
                storage_options=self.lake.storage_options or None,
            )
        except DeltaError:
            if table := self._open(uri):
                return table
            raise


def _schema() -> Any:
    from deltalake import Field as Column
    from deltalake import Schema
    from deltalake.schema import PrimitiveType

    names: dict[Any, str] = {pl.String: "string", pl.Float64: "double", _INSTANT: "timestamp"}
    return Schema([Column(n, PrimitiveType(names[t]), nullable=True) for n, t in SCHEMA.items()])


def _read(table: Any) -> pl.DataFrame:
    frame = pl.scan_delta(table).select(SCHEMA.names()).collect()
    return frame.cast(SCHEMA)


def _of_decision(entries: pl.DataFrame, decision_id: str) -> Entry | None:
    found = entries.filter(pl.col("decision_id") == decision_id)
    return Entry(**found.row(0, named=True)) if found.height else None


def _commit(table: Any, entry: Entry) -> bool:
    """Whether the entry was written; not so when another writer recorded its decision meanwhile."""
    from deltalake import CommitProperties, Transaction, write_deltalake
    from deltalake.exceptions import CommitFailedError

    rows = pl.DataFrame([dataclasses.asdict(entry)], schema=SCHEMA)
    once = CommitProperties(app_transactions=[Transaction(entry.decision_id, 1)])
    try:
        write_deltalake(table, rows, mode="append", commit_properties=once)
    except CommitFailedError:
        return False
    return True
