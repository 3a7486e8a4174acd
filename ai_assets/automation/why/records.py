"""What was recorded about a product: ledger, decisions, bundles and the lake's commits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

import ai_assets
from ai_assets.lifecycle.errors import (
    BundleError,
    DataError,
    MissingPartitionsError,
    did_you_mean,
    must_be,
)
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.stages.learnable import WINDOW
from ai_assets.stages.monitoring import FILE

_SHOWN = 5
_PRODUCTS = Path(ai_assets.__file__).parent / "products"


@dataclass(frozen=True)
class Records:
    """A product and where its records lie."""

    product: Product
    lake: Lake
    bundles: BundleStore
    ledger: ReleaseLedger
    decisions: DecisionLog

    @classmethod
    def of(cls, product: str, products: Path = _PRODUCTS) -> "Records":
        """The records of a declared product below the state root.

        Raises:
            DataError: no product has that name.
        """
        known = sorted(file.parent.name for file in products.glob("*/defs.yaml"))
        if product not in known:
            raise DataError(must_be("product", known, product))
        lake = Lake()
        return cls(
            read_product(products / product),
            lake,
            BundleStore(),
            ReleaseLedger(lake=lake),
            DecisionLog(lake=lake),
        )

    @property
    def name(self) -> str:
        return self.product.name

    def releases(self) -> list[dict[str, Any]]:
        """All releases by when they took effect.

        Raises:
            DataError: there is none.
        """
        rows = self.ledger.history(self.name).to_dicts()
        if not rows:
            raise DataError(f"Nothing of {self.name} has been released yet.")
        return rows

    def decided(self) -> list[dict[str, Any]]:
        """All decisions in the order in which they were recorded, their evidence as data."""
        rows = self.decisions.history(self.name).to_dicts()
        return [row | {"evidence": json.loads(row["evidence"])} for row in rows]

    def file_of(self, asset: str, partition: str | None, file: str) -> Path | None:
        """A file of a partition's artifact; None where none was saved."""
        try:
            path = self.lake.artifact(self.product.asset(asset), partition) / file
        except MissingPartitionsError:
            return None
        return path if path.is_file() else None

    def learned_from(self, payload: Path, partition: str | None) -> list[str] | None:
        """The partitions that a bundle says it learned from; None without partitions.

        One from before bundles said so: those of the training set as it is now.
        """
        file = payload / WINDOW
        if not file.is_file():
            found = self.file_of("training_set", partition, WINDOW)
            if found is None:
                return self.product.window(partition)
            file = found
        keys: list[str] | None = _read(file)["keys"]
        return keys

    def bundle_facts(self, tag: str) -> dict[str, Any]:
        """What a bundle was made from, as it says itself once its signature has verified.

        A bundle that is gone or spoilt still has a place in the chain: its tag, and what is wrong.
        """
        try:
            bundle, payload = self.bundles.load(tag), self.bundles.payload(tag)
        except BundleError as error:
            return {"tag": tag, "problem": str(error)}
        watched = payload / FILE
        return {
            "tag": tag,
            "as_of": bundle.partition,
            "learned_from": self.learned_from(payload, bundle.partition),
            "data_versions": _read(payload / "data_versions.json"),
            "code_versions": _read(watched).get("code", {}) if watched.is_file() else {},
            "path": str(self.bundles.path(tag)),
        }


def moment_of(given: str) -> datetime | None:
    """The instant that a text names, UTC unless it says otherwise; None where it names none."""
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def unknown(what: str, given: str, known: Sequence[str], some: str = "The newest") -> DataError:
    """The error for an id that no record has: what is meant, perhaps, and some there are.

    Args:
        what: kind of record, for people.
        given: the id.
        known: ids that there are, oldest first.
        some: what the last of them are.
    """
    if not known:
        return DataError(f"There is no {what} {given!r}: none has been recorded yet.")
    last = ", ".join(reversed(known[-_SHOWN:]))
    return DataError(f"There is no {what} {given!r}.{did_you_mean(given, known)} {some}: {last}.")


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as JSON holds it: moments in ISO 8601."""
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in record.items()}


def rows_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON holds them."""
    return [plain(row) for row in frame.to_dicts()]


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
