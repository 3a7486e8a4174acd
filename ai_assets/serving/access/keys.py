"""API keys: what one is, its token, and how a token is checked.

A token is `aia_<id>_<secret>`. The id is public: it is in the log and in errors. The secret is 256
random bits, shown once and stored nowhere.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from ai_assets.lifecycle.errors import UserError, must_be
from ai_assets.serving.access.limits import Quota, Rate

SCOPES = ("predict", "explain", "feedback", "admin")
_PREFIX = "aia"
_ID_BYTES, _SECRET_BYTES, _SALT_BYTES = 6, 32, 16
_LONGEST_TOKEN = 200
_LONGEST_NAME = 80


class AccessError(UserError):
    """What a person asked of keys, or set for access, cannot be done."""


@dataclass(frozen=True)
class Key:
    """One key, without its secret. Times are in seconds since 1970.

    Attributes:
        id: public name of the key.
        name: who holds it, in words.
        scopes: what it may ask for, of `SCOPES`.
        rate: most requests in a short time; no limit if None.
        quota: most requests of a window of the clock; no limit if None.
        created_at, expires_at, revoked_at: None where it does not end.
        salt, digest: what the secret is checked against.
    """

    id: str
    name: str
    scopes: frozenset[str]
    rate: Rate | None
    quota: Quota | None
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    salt: bytes = field(default=b"", repr=False)
    digest: bytes = field(default=b"", repr=False)

    def state(self, now: float) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active"

    def opens_with(self, secret: str) -> bool:
        """Whether the secret is this key's. Takes the same time whichever byte is wrong."""
        return hmac.compare_digest(digest_of(secret, self.salt), self.digest)


def new_key(
    name: str,
    scopes: list[str],
    now: float,
    rate: Rate | None = None,
    quota: Quota | None = None,
    expires_at: float | None = None,
) -> tuple[Key, str]:
    """A new key and its token.

    Raises:
        AccessError: the name or a scope is not allowed.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise AccessError(must_be("name", f"1 to {_LONGEST_NAME} printable characters", name))
    for scope in scopes:
        if scope not in SCOPES:
            raise AccessError(must_be("scope", SCOPES, scope))
    if not scopes:
        raise AccessError(must_be("scope", SCOPES, None))
    secret, salt = secrets.token_urlsafe(_SECRET_BYTES), secrets.token_bytes(_SALT_BYTES)
    key = Key(
        id=secrets.token_hex(_ID_BYTES),
        name=name,
        scopes=frozenset(scopes),
        rate=rate,
        quota=quota,
        created_at=now,
        expires_at=expires_at,
        salt=salt,
        digest=digest_of(secret, salt),
    )
    return key, f"{_PREFIX}_{key.id}_{secret}"


def split_token(token: str) -> tuple[str, str] | None:
    """The id and the secret of a token; None where it has not the form of one."""
    prefix, _, rest = token.partition("_")
    identity, _, secret = rest.partition("_")
    if prefix != _PREFIX or not identity or not secret or len(token) > _LONGEST_TOKEN:
        return None
    # Digests are of bytes, and only ASCII has one spelling of each character.
    return (identity, secret) if token.isascii() else None


def digest_of(secret: str, salt: bytes) -> bytes:
    """What is stored of a secret.

    One fast keyed hash is right here, unlike for passwords: nobody can try 2**256 secrets, however
    fast, so a slow hash (bcrypt, argon2) would only make each request slow. The salt keeps equal
    secrets apart and tables made beforehand useless.
    """
    person = b"ai_assets.key"
    return hashlib.blake2b(secret.encode(), digest_size=32, salt=salt, person=person).digest()
