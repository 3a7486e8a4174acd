"""Where the log lies. A store is a few functions, so that another database can take its place."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ai_assets.serving.place import LOG, check_psycopg, file_of, is_postgres, state_root
from ai_assets.serving.record.answers import Aged, Answered, Counted, Described, Entry, Told

if TYPE_CHECKING:
    from ai_assets.serving.record.postgres import PostgresStore

# Values in a statement; transactions of so many rows are short.
FEW = 500
Span = tuple[int | None, int | None]
_SCHEMA = re.compile(r"[?&]schema=")


class Store(Protocol):
    """A log. All but `write` and `forget…` may be called from any thread, and beside a writer."""

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

    def newest_answers(
        self, since_us: int, bundle: str, role: str, most: int
    ) -> Iterator[Answered]:
        """The newest requests that a bundle answered in a role, newest first.

        Args:
            since_us: from this moment of the clock on, microseconds since 1970.
            bundle: its tag.
            role: what it was to the release.
            most: how many at most.
        """

    def newest_outcomes(self, since_us: int, most: int) -> Iterator[Told]:
        """The outcomes that were sent last, newest first; arguments as above."""

    def aged(self, before_us: int) -> Iterator[Aged]:
        """The requests of before a moment of the clock (microseconds since 1970), oldest first."""

    def aged_outcomes(self, before_us: int) -> Iterator[tuple[int, Told]]:
        """The outcomes that were sent before a moment, each with its number in the log."""

    def forget(self, request_ids: Sequence[int], outcomes: Sequence[int]) -> None:
        """Delete requests by their ids and outcomes by their numbers, a few at a time.

        Who writes waits for none of it long. What is forgotten twice is no error.

        Raises:
            LogError: some of them may still be there.
        """

    def forget_counts(self, before_us: int) -> None:
        """Delete the counts of times that ended before a moment; raises as `forget`."""

    def close(self) -> None:
        """Let go of the log."""


def few(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The items, as many at a time as one statement takes."""
    return (items[start : start + FEW] for start in range(0, len(items), FEW))


def log_place(product: str, given: str = "") -> str:
    """Path or URL of a product's log: the setting, or a file below the state root.

    `{product}` in the setting becomes the product's name. In a PostgreSQL database each product has
    a schema of its own, unless the URL names one.
    """
    default = str(state_root() / "served" / "{product}.sqlite")
    place = (given or default).replace("{product}", product)
    if not is_postgres(place) or _SCHEMA.search(place):
        return place
    return f"{place}{'&' if '?' in place else '?'}schema={product}"


def open_store(place: str) -> Store:
    """The log at a path, at `sqlite:///<path>` or `postgresql://…`; made where there is none.

    Raises:
        BundleError: the URL is of no kind that is known, or a package for it is missing.
        LogError: it cannot be opened, or is of another format.
    """
    if is_postgres(place):
        return _postgres()(place)
    from ai_assets.serving.record.sqlite import SqliteStore

    return SqliteStore(file_of(place, LOG))


def read_store(place: str) -> Store | None:
    """The log at a place, to read it; None where nothing was recorded yet."""
    there = _postgres().is_there(place) if is_postgres(place) else file_of(place, LOG).is_file()
    return open_store(place) if there else None


def _postgres() -> "type[PostgresStore]":
    check_psycopg("A log")
    from ai_assets.serving.record.postgres import PostgresStore

    return PostgresStore
