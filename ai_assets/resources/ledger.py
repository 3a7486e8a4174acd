"""The release ledger: what was in production when, and why. Entries are added, never changed."""

import dataclasses
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import dagster as dg

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

if TYPE_CHECKING:
    import polars as pl

    from ai_assets.resources.append_only import AppendOnly

COLUMNS = {
    "release_id": "string",
    "product": "string",
    "effective_from": "timestamp",
    "recorded_at": "timestamp",
    "stable": "string",
    "candidate": "string",
    "split": "double",
    "decision_id": "string",
    "cause": "string",
    "who": "string",
    "why": "string",
    "gate": "string",
    "mode": "string",
}
Mode = Literal["", "ab", "canary", "shadow", "bandit"]
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""When entries of a product without partitions take effect: of them the last recorded counts."""
MODES: tuple[Mode, ...] = ("ab", "canary", "shadow", "bandit")


def told_when(effective_from: object) -> str:
    """The column that tells people when an entry came: its effect, or if always, its record."""
    return "recorded_at" if effective_from == ALWAYS else "effective_from"


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
        split: Share of traffic that the candidate gets, 0 to 1: fixed (`ab`), at this step
            (`canary`), to begin with (`bandit`); 0 of a `shadow`, whose answers no caller gets.
        gate: The gate's answer as JSON; empty if it was not asked.
        mode: What the candidate is tried as; empty without one, and in entries from before there
            were modes, where a candidate with a split is `ab`.
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
    mode: Mode = ""
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
        if self.candidate is None and self.mode:
            raise DataError(must_be("mode without a candidate", "empty", self.mode))
        if self.mode and self.mode not in MODES:
            raise DataError(must_be("mode", MODES, self.mode))
        if self.mode == "shadow" and self.split:
            raise DataError(must_be("split of a shadow", "0", self.split))
        if not self.release_id:
            told = f"{self.product}\n{self.decision_id}".encode()
            object.__setattr__(self, "release_id", hashlib.sha256(told).hexdigest()[:16])


class ReleaseLedger(dg.ConfigurableResource):
    """The releases of all products, in the given lake."""

    lake: Lake

    def append(self, entry: Entry, after: int | None = None) -> Entry:
        """Record the entry and return it; or return what is already recorded of its decision.

        Args:
            entry: The release.
            after: How many entries the history had that it was decided by; None: whatever is there.

        Raises:
            OutrunError: There are others by now.
            DataError: Other writers left no gap in many attempts.
        """
        return Entry(**self._records(entry.product).append(dataclasses.asdict(entry), after))

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
        import polars as pl

        if moment.tzinfo is None:
            raise DataError(must_be("moment", "a moment with a time zone", moment))
        entries = self.history(product).filter(pl.col("effective_from") <= moment)
        if recorded_before is not None:
            entries = entries.filter(pl.col("recorded_at") < recorded_before)
        return Entry(**entries.row(-1, named=True)) if entries.height else None

    def history(self, product: str) -> "pl.DataFrame":
        """All entries by when they took effect; of one moment the last recorded comes last."""
        entries = self._records(product).read()
        return entries.sort("effective_from", "recorded_at", "release_id")

    def _records(self, product: str) -> "AppendOnly":
        from ai_assets.resources.append_only import AppendOnly

        name = AssetName(product, "release")
        return AppendOnly(self.lake, name, COLUMNS, "decision_id", before={"mode": ""})
