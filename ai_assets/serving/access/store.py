"""Where keys lie. A store is a few functions, so that servers of several hosts can share one."""

from typing import Any, Protocol

from ai_assets.serving.access.keys import AccessError, Key
from ai_assets.serving.access.limits import parse_quota, parse_rate
from ai_assets.serving.place import KEYS, check_psycopg, file_of, is_postgres


class KeyStore(Protocol):
    """Keys, and what is used of their quotas. May be used from any thread, by several servers."""

    def add(self, key: Key) -> None:
        """Keep a new key."""

    def revoke(self, identity: str, now: float) -> Key:
        """Close a key for good; a second time changes nothing.

        Raises:
            AccessError: there is no such key.
        """

    def keys(self) -> dict[str, Key]:
        """Every key by its id, oldest first; none where there was never one."""

    def revision(self) -> tuple[int, int]:
        """Which store it is, and a number that each change of a key makes greater."""

    def used(self, identity: str, began: int) -> int:
        """How many requests of a window are used, or lent to a server to be used."""

    def lend(self, identity: str, began: int, block: int, most: int) -> int:
        """Take up to `block` requests out of a window's `most`; how many there were to take."""


def key_store(place: str) -> KeyStore:
    """The keys at a path, at `sqlite:///<path>` or `postgresql://…`; made when the first key is.

    Raises:
        BundleError: the URL is of no kind that is known, or a package for it is missing.
    """
    if is_postgres(place):
        check_psycopg("Keys")
        from ai_assets.serving.access.postgres import KeyDatabase

        return KeyDatabase(place)
    from ai_assets.serving.access.sqlite import KeyFile

    return KeyFile(file_of(place, KEYS))


COLUMNS = (
    "id", "name", "scopes", "rate", "quota", "created_at", "expires_at", "revoked_at", "salt",
    "digest",
)  # fmt: skip


def row_of(key: Key) -> tuple[Any, ...]:
    """A key as a row of a table, in the order of `COLUMNS`."""
    return (
        key.id,
        key.name,
        " ".join(sorted(key.scopes)),
        str(key.rate) if key.rate else None,
        str(key.quota) if key.quota else None,
        key.created_at,
        key.expires_at,
        key.revoked_at,
        key.salt,
        key.digest,
    )


def key_of(row: tuple[Any, ...]) -> Key:
    """The key of a row."""
    identity, name, scopes, rate, quota, created, expires, revoked, salt, digest = row
    return Key(
        id=identity,
        name=name,
        scopes=frozenset(scopes.split()),
        rate=parse_rate(rate) if rate else None,
        quota=parse_quota(quota) if quota else None,
        created_at=created,
        expires_at=expires,
        revoked_at=revoked,
        salt=salt,
        digest=digest,
    )


def check_known(identity: str, known: dict[str, Key], where: str) -> None:
    """Raise an AccessError unless there is a key of that id."""
    if identity not in known:
        ids = ", ".join(known) or "none, for there is no key yet"
        raise AccessError(f"There is no key {identity!r} in {where}. There are: {ids}.")
