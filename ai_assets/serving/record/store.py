"""Where the log lies. A store is a few functions, so that another database can take its place."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ai_assets.lifecycle.errors import BundleError, must_be
from ai_assets.serving.place import state_root
from ai_assets.serving.record.answers import Answered, Counted, Described, Entry, Told

Span = tuple[int | None, int | None]


class Store(Protocol):
    """A log. All but `write` may be called from any thread, and beside a writer."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep all of these, or none. They are durable when it returns.

        Raises:
            LogError: none of them was kept.
        """

    def find(self, request_ids: Collection[int]) -> dict[int, Answered]:
        """The entries with these ids that there are."""

    def answers(self, span: Span) -> Iterator[Answered]:
        """Requests with a row whose event time may lie in [from, to) (microseconds), by id.

        `(None, None)` is everything, also what has no event time.
        """

    def outcomes(self, span: Span) -> Iterator[Told]:
        """Outcomes of rows whose event time lies in [from, to), in the order they were sent."""

    def descriptions(self) -> dict[str, Described]:
        """For each bundle that answered, how to read its answers."""

    def counts(self, span: Span) -> Iterator[Counted]:
        """Counts of times that lie in [from, to) (microseconds of the clock), in no order."""

    def close(self) -> None:
        """Let go of the log."""


def log_place(product: str, given: str = "") -> str:
    """Path or URL of a product's log: the setting, or a file below the state root.

    `{product}` in the setting becomes the product's name.
    """
    default = str(state_root() / "served" / "{product}.sqlite")
    return (given or default).replace("{product}", product)


def open_store(place: str) -> Store:
    """The log at a path, or at a URL `sqlite:///<path>`; made where there is none.

    Raises:
        BundleError: the URL is of no kind that is known.
        LogError: it cannot be opened, or is of another format.
    """
    from ai_assets.serving.record.sqlite import SqliteStore

    return SqliteStore(_path(place))


def read_store(place: str) -> Store | None:
    """The log at a place, to read it; None where nothing was recorded yet."""
    return open_store(place) if _path(place).is_file() else None


def _path(place: str) -> Path:
    scheme, found, rest = place.partition("://")
    if found and scheme != "sqlite":
        raise BundleError(must_be("AI_ASSETS_LOG", "a path or sqlite:///<path>", place))
    return Path(rest[1:] if found else place)
