"""Who may ask for what, and how often. Knows no protocol: HTTP and gRPC ask the same gate."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import must_be
from ai_assets.serving.access.keys import AccessError, Key, split_token
from ai_assets.serving.access.limits import Buckets, SharedBuckets, retry_after
from ai_assets.serving.access.local import is_elsewhere, is_forwarded, is_loopback
from ai_assets.serving.access.quotas import Quotas
from ai_assets.serving.access.rules import Need
from ai_assets.serving.access.store import KeyStore, key_store
from ai_assets.serving.problems import Refused

if TYPE_CHECKING:
    from ai_assets.serving.access.oidc import Verifier
    from ai_assets.serving.settings import Settings

MODES = ("keys", "open")
HOW_TO_MAKE = "python -m ai_assets.serving.access create --name <who> --scope predict"
_CHECK_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One request, as far as the gate is concerned.

    Attributes:
        tokens: every token that came with it; one is expected.
        host: address of whoever is connected; empty where it is not known.
        forwarded: whether a proxy says that it asks for somebody else.
        elsewhere: whether it has to do with another site: see `is_elsewhere`.
    """

    tokens: list[str]
    host: str
    forwarded: bool = False
    elsewhere: bool = False

    @classmethod
    def of(cls, headers: Sequence[tuple[bytes, bytes]], host: str) -> "Asked":
        """What headers say, their names in small letters, as ASGI and gRPC give them."""
        return cls(list(_tokens(headers)), host, is_forwarded(headers), is_elsewhere(headers))


class Gate:
    """Lets a request pass, or refuses it.

    Keys are read from their store again within `check_s` of a change, so a key that is revoked is
    refused by running servers within a second. Where they cannot be read, nobody passes.
    """

    def __init__(
        self,
        mode: str,
        store: KeyStore,
        clock: Callable[[], float] = time.time,
        check_s: float = _CHECK_S,
        verifier: "Verifier | None" = None,
        shared: Path | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        if mode not in MODES:
            raise AccessError(must_be("AI_ASSETS_ACCESS", MODES, mode))
        self.mode = mode
        self._store, self._clock, self._check_s = store, clock, check_s
        # Rates go by one that is never set, and that all processes of a host share.
        self._steady = steady
        self._keys: dict[str, Key] = {}
        self._revision: tuple[int, int] | None = None
        self._looked = self._failed = float("-inf")
        self._look: asyncio.Task[bool] | None = None
        self._buckets = Buckets() if shared is None else SharedBuckets(shared / "rates")
        self._quotas = Quotas(store)
        self._verifier = verifier

    @classmethod
    def of(cls, settings: "Settings") -> "Gate":
        """The gate that the settings ask for.

        Raises:
            AccessError: the mode is not one, or what is said of the identity provider is not whole.
        """
        verifier = None
        if settings.oidc_issuer or settings.oidc_audience or settings.oidc_jwks:
            # Most servers have no identity provider, and start without what asking one needs.
            from ai_assets.serving.access.oidc import Verifier

            verifier = Verifier.of(settings)
        shared = Path(settings.shared) if settings.shared else None
        return cls(settings.access, key_store(settings.keys), verifier=verifier, shared=shared)

    def announce(self) -> None:
        """Say in the log what a person who starts a server must know."""
        if self.mode == "open":
            _log.warning(
                "AI_ASSETS_ACCESS=open: no key is asked for, and only this machine is answered."
            )
        elif self._verifier is None and not self._has_active():
            _log.warning("There is no key yet, so every request is refused. Run %s", HOW_TO_MAKE)

    def _has_active(self) -> bool:
        """Whether there is a key that opens; where they cannot be read, that is told instead."""
        try:
            keys = self._store.keys()
        except AccessError as error:
            _log.warning("%s Until they can, every request is refused.", error)
            return True
        return any(key.state(self._clock()) == "active" for key in keys.values())

    async def admit(self, asked: Asked, need: Need) -> str | None:
        """Let pass, and count it; returns the id of the key, or None where none was needed.

        Raises:
            Refused: 401, 403, 429 or 503, with what the caller can do.
        """
        key = await self.entitled(asked, need)
        if key is None:
            return None
        now = self._clock()
        self._within_rate(key)
        await self._quotas.charge(key, now)
        return key.id

    async def entitled(self, asked: Asked, need: Need) -> Key | None:
        """The key of whoever may ask this, None where none is needed. It counts as no request.

        Raises:
            Refused: 401, 403 or 503, with what the caller can do.
        """
        if self.mode == "open":
            if asked.forwarded or not is_loopback(asked.host):
                raise Refused(403, "This server answers requests of its own machine only.")
            if asked.elsewhere:
                raise Refused(
                    403,
                    "This server is open, so pages and names of other sites are refused. Ask it as "
                    "localhost or 127.0.0.1.",
                )
            return None
        if not need.key:
            return None
        key = await self._authenticated(asked.tokens, self._clock())
        if need.scope is not None and need.scope not in key.scopes:
            raise _no_scope(key, need.scope)
        return key

    async def _authenticated(self, tokens: list[str], now: float) -> Key:
        if not tokens:
            raise _unknown(
                "A key is needed: send it as `Authorization: Bearer <key>` or as `X-API-Key`.", ""
            )
        if len(tokens) > 1:
            raise _unknown("The key must be sent once.", ', error="invalid_request"')
        if self._verifier is not None and self._verifier.takes(tokens[0]):
            return await self._verifier.key(tokens[0])
        parts = split_token(tokens[0])
        # An id is no secret, so it may be told by the time that the answer takes.
        key = (await self._known()).get(parts[0]) if parts else None
        if key is None or parts is None or not key.opens_with(parts[1]):
            _log.info("refused a token that is not valid%s", f" for key {key.id}" if key else "")
            raise _unknown("The key is not valid.", ', error="invalid_token"')
        state = key.state(now)
        if state != "active":
            _log.info("refused key %s, which is %s", key.id, state)
            raise _unknown(f"The key {key.id} is {state}.", ', error="invalid_token"')
        return key

    async def _known(self) -> dict[str, Key]:
        """The keys, looked for by one request a `check_s`; those beside it wait for what it finds.

        Raises:
            Refused: with 503: they cannot be read. For a `check_s` nobody tries again.
        """
        if self._is_new(self._looked):
            return self._keys
        if self._is_new(self._failed):
            raise _no_keys()
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_up())
        # A caller that gives up leaves the look to the others, and to those who come.
        if not await asyncio.shield(self._look):
            raise _no_keys()
        return self._keys

    async def _look_up(self) -> bool:
        """Whether the keys could be read."""
        began = self._clock()
        try:
            # A database may be slow to answer, and other requests must not wait for that.
            found = await asyncio.to_thread(self._read)
        except Exception as error:  # stores raise many kinds, and none may open the gate
            self._failed = self._clock()
            words = str(error) if isinstance(error, AccessError) else type(error).__name__
            _log.error("keys cannot be read: %s", words)
            return False
        self._revision, self._keys = found
        self._looked = began
        return True

    def _read(self) -> tuple[tuple[int, int], dict[str, Key]]:
        revision = self._store.revision()
        return revision, self._keys if revision == self._revision else self._store.keys()

    def _is_new(self, moment: float) -> bool:
        return 0 <= self._clock() - moment < self._check_s

    def _within_rate(self, key: Key) -> None:
        if key.rate is None:
            return
        wait = self._buckets.take(key.id, key.rate, self._steady())
        if wait:
            raise Refused(
                429,
                f"The key {key.id} may ask {key.rate}, and has. Try again later.",
                headers={"Retry-After": retry_after(wait)},
            )


def _tokens(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[str]:
    for name, value in headers:
        if name == b"x-api-key":
            yield value.decode("latin-1").strip()
        elif name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                yield token.strip()


def _no_keys() -> Refused:
    return Refused(503, "Keys cannot be checked now.", headers={"Retry-After": "1"})


def _unknown(sentence: str, error: str) -> Refused:
    return Refused(401, sentence, headers={"WWW-Authenticate": f'Bearer realm="ai_assets"{error}'})


def _no_scope(key: Key, scope: str) -> Refused:
    _log.info("refused key %s, which has no scope %s", key.id, scope)
    challenge = f'Bearer realm="ai_assets", error="insufficient_scope", scope="{scope}"'
    return Refused(
        403,
        f"The key {key.id} has not the scope '{scope}', which this needs.",
        headers={"WWW-Authenticate": challenge},
    )
