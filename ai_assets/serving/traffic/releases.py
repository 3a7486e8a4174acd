"""What is in production, as the ledger in the lake says, and where the bundles of it lie.

A server reads the ledger and never writes it: the asset `<product>/release` does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import BundleError, DataError
from ai_assets.lifecycle.naming import AssetName

if TYPE_CHECKING:
    from deltalake import DeltaTable

PAYLOAD = Path("src", "product")
DEFAULT_MODE = "ab"
# What a bandit gives a candidate at least and at most: what is never asked never shows that it got
# better.
LEAST_SHARE, MOST_SHARE = 0.05, 0.95
_READ = ("effective_from", "recorded_at", "release_id", "stable", "candidate", "split", "mode")


class ReleaseError(DataError):
    """What is in production cannot be read, or cannot be served; what was served before stays."""


@dataclass(frozen=True)
class Release:
    """One entry of the ledger, as far as a server is concerned.

    Attributes:
        stable: tag of the bundle that serves.
        candidate: tag of the bundle that is tried beside it, if any.
        split: share of the rows that the candidate gets, 0 to 1.
        mode: how it is tried: `ab`, `canary`, `shadow` or `bandit`; empty without a candidate.
    """

    stable: str
    candidate: str | None = None
    split: float = 0.0
    mode: str = ""

    @property
    def first_share(self) -> float:
        """The share that the candidate gets before feedback says otherwise."""
        if self.mode != "bandit":
            return self.split
        return min(MOST_SHARE, max(LEAST_SHARE, self.split))

    @classmethod
    def of(cls, entry: dict[str, Any]) -> "Release":
        """The release that an entry of the ledger makes."""
        stable, candidate = str(entry["stable"]), entry["candidate"]
        split = float(entry["split"] or 0.0)
        mode = str(entry.get("mode") or (DEFAULT_MODE if split else ""))
        if not candidate or candidate == stable or not mode:
            return cls(stable)
        return cls(stable, str(candidate), split, mode)


class Releases:
    """The ledger of one product, read anew only where it has changed.

    Args:
        lake: folder or URL of the lake.
        product: name of the product.
    """

    def __init__(self, lake: str, product: str) -> None:
        self.product = product
        self._place = f"{lake.rstrip('/')}/{AssetName(product, 'release').path}"
        self._version: tuple[int, int] | None = None
        self._newest: Release | None = None

    def newest(self) -> Release:
        """The entry that took effect last; of one moment the one that was recorded last.

        Raises:
            ReleaseError: there is no ledger, or it cannot be read now.
        """
        try:
            found = self._read()
        except Exception as error:  # deltalake, polars and object stores raise many kinds
            raise ReleaseError(
                f"The releases of {self.product} cannot be read: {str(error)[:300]}"
            ) from error
        if found is None:
            raise ReleaseError(
                f"{self.product} has no release yet, so there is nothing to follow. Materialize "
                f"{self.product}/release, or set AI_ASSETS_LAKE to the lake's root."
            )
        return found

    def _read(self) -> Release | None:
        from deltalake import DeltaTable

        if "://" not in self._place and not Path(self._place, "_delta_log").is_dir():
            return None
        table = DeltaTable(self._place)
        # A ledger that was made anew begins at version 0 again, so the version is not enough.
        version = (table.version(), int(table.history(1)[0]["timestamp"]))
        if version != self._version:
            self._newest = _newest(table)
            self._version = version
        return self._newest


def payload_of(store: Path | str, tag: str) -> Path:
    """The folder of a tag's payload in a bundle store, whether or not it is there.

    Raises:
        BundleError: it is no tag.
    """
    name, _, version = tag.partition(":")
    if not name or not version or "/" in tag or ".." in tag:
        raise BundleError(f"A bundle's tag must be '<product>:<version>', but got {tag!r}.")
    return Path(store) / "bentos" / name / version / PAYLOAD


def check_tag(found: str, tag: str) -> None:
    """Return if it is the bundle that was asked for.

    Raises:
        BundleError: the folder holds another one.
    """
    if found != tag:
        raise BundleError(f"In the place of {tag} lies {found}, which is not what was released.")


def _newest(table: "DeltaTable") -> Release | None:
    import polars as pl

    rows: pl.LazyFrame = pl.scan_delta(table)
    there = rows.collect_schema().names()
    rows = rows.select(name for name in _READ if name in there)
    last = rows.sort("effective_from", "recorded_at", "release_id").tail(1).collect()
    return Release.of(last.row(0, named=True)) if last.height else None
