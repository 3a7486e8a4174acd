"""The public keys of an identity provider, fetched when they are needed and not more often.

Keys change: a token that names an unknown key makes us look again, but nobody can make us look more
often than every `AGAIN_S`. Keys that are `OLD_S` old are fetched again while requests go on; while
the provider is away, the known ones stay good for `OLDEST_S`.
"""

import asyncio
import json
import logging
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ai_assets.lifecycle.errors import must_be
from ai_assets.serving.access.keys import AccessError
from ai_assets.serving.access.local import is_loopback

OLD_S = 300.0
AGAIN_S = 10.0
# Older ones may have been taken back by the provider, and are not trusted.
OLDEST_S = 86_400.0
_TIMEOUT_S = 5.0
_MOST_BYTES = 1_000_000
_DISCOVERY = "/.well-known/openid-configuration"
# A provider that is away, answers half or no HTTP, or says something else than keys.
_UNREADABLE = (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError)
_log = logging.getLogger(__name__)


class NoKeys(Exception):
    """The provider's keys cannot be had now."""


class KeySource:
    """The documents of keys, as the provider gives them.

    Args:
        issuer: the provider.
        place: file or URL of its keys (JWKS); empty asks the provider where they are.
        clock: seconds that only grow.

    Raises:
        AccessError: a URL is not https, and not of this machine.
    """

    def __init__(
        self, issuer: str, place: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        for name, given in (("issuer", issuer), ("jwks", place)):
            if "://" in given or name == "issuer":
                _check_url(f"AI_ASSETS_OIDC_{name.upper()}", given)
        self._issuer, self._place, self._clock = issuer, place, clock
        self._keys: dict[str, Mapping[str, Any]] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None
        self.revision = 0

    @property
    def age(self) -> float:
        """Seconds since the keys were read; infinite if they never were."""
        return self._clock() - self._read_at

    async def find(self, identity: str | None) -> Mapping[str, Any] | None:
        """The key with that id; the only one if no id is given. None: there is no such key.

        Raises:
            NoKeys: there are none, and the provider cannot be asked.
        """
        if self.age > OLDEST_S or self._one(identity) is None:
            await self._look_again()
        elif self.age > OLD_S and (self._renewal is None or self._renewal.done()):
            # A provider that is slow must not make those wait whose keys are known.
            self._renewal = asyncio.create_task(self._look_again())
        if self.age > OLDEST_S:
            raise NoKeys
        return self._one(identity)

    def _one(self, identity: str | None) -> Mapping[str, Any] | None:
        if identity is not None:
            return self._keys.get(identity)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    async def _look_again(self) -> None:
        async with self._reading:
            if self._clock() - self._tried_at < AGAIN_S:
                return
            self._tried_at = self._clock()
            try:
                keys = await asyncio.to_thread(self._read)
            except _UNREADABLE as error:
                _log.error("the keys of %s cannot be read: %s", self._issuer, error)
                return
            self._read_at = self._clock()
            # What was believed on the word of earlier keys is checked again.
            if keys != self._keys:
                self._keys, self.revision = keys, self.revision + 1

    def _read(self) -> dict[str, Mapping[str, Any]]:
        place = self._place
        if not place:
            found = _fetched(self._issuer.rstrip("/") + _DISCOVERY)
            if found["issuer"] != self._issuer:
                raise ValueError("it calls itself otherwise")
            place = str(found["jwks_uri"])
            _check_url("jwks_uri", place)
        document = _fetched(place) if "://" in place else _loaded(Path(place).read_bytes())
        keys = [key for key in document["keys"] if key.get("use", "sig") == "sig"]
        return {str(key.get("kid", n)): key for n, key in enumerate(keys)}


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if not parts.hostname or (parts.scheme != "https" and not local):
        raise AccessError(must_be(name, "an https:// URL", url))


class _Stays(urllib.request.HTTPRedirectHandler):
    """Keys come from where they were asked for."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing; the redirect is then an error."""


def _fetched(url: str) -> dict[str, Any]:
    asked = urllib.request.Request(url, headers={"Accept": "application/json"})
    # The timeout is of each wait; who sends a byte now and then is cut off by the other.
    with (
        _cut_off(_TIMEOUT_S) as handlers,
        urllib.request.build_opener(_Stays, *handlers).open(asked, timeout=_TIMEOUT_S) as answer,
    ):
        return _loaded(answer.read(_MOST_BYTES + 1))


@contextmanager
def _cut_off(seconds: float) -> Iterator[list[urllib.request.BaseHandler]]:
    """Handlers whose connections end after so many seconds, whatever still comes."""
    opened: list[socket.socket] = []

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            opened.append(self.sock)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            opened.append(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> HTTPResponse:
            return self.do_open(Plain, request)

    class TlsHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> HTTPResponse:
            return self.do_open(Tls, request)

    def end() -> None:
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield [PlainHandler(), TlsHandler()]
    finally:
        timer.cancel()


def _loaded(content: bytes) -> dict[str, Any]:
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return dict(json.loads(content))
