"""One request as it is observed: who, what, how long, and the parts that its time went to.

Whatever answers a request finds it by a context variable, so no layer hands it on. Light: all of it
is standard library, and where nobody watches, a part costs one look at that variable.
"""

import functools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from ai_assets.serving.engine import Scored

TRACE_HEADER = b"x-trace-id"
_MOST_PARTS = 64
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NO_TRACE = b"0" * 32
Headers = Iterable[tuple[bytes, bytes]]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Took:
    """How long a batch took, nanoseconds since 1970; SQL's are 0 where features came ready."""

    rows: int
    sql_began_ns: int
    sql_ended_ns: int
    model_began_ns: int
    model_ended_ns: int


@dataclass(frozen=True)
class Part:
    """A stretch of a request's time, nanoseconds since 1970."""

    name: str
    began_ns: int
    ended_ns: int
    facts: Mapping[str, Any]


@dataclass(eq=False)
class Exchange:
    """What is known of a request.

    Attributes:
        method: of HTTP, or `grpc`.
        headers: as they came, names in small letters.
        traced: whether the parts of its time are kept.
        began: `time.perf_counter` when it came.
        span: what stands for it in a trace.
        key_id: who asks.
        bundles: tags of the bundles that answered.
        rows: how many rows were answered.
        online: versions of the time-varying tables that were read.
        parts: where its time went.
    """

    method: str
    headers: Headers = ()
    traced: bool = False
    began: float = field(default_factory=time.perf_counter)
    span: Any = None
    key_id: str | None = None
    bundles: dict[str, None] = field(default_factory=dict)
    rows: int = 0
    online: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    known_trace: str = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits: those of the caller's trace, else new ones."""
        if not self.known_trace:
            self.known_trace = _caller_trace(self.headers) or os.urandom(16).hex()
        return self.known_trace

    def took(self, name: str, began_ns: int, ended_ns: int, **facts: Any) -> None:
        """Note a part of its time."""
        if self.traced and len(self.parts) < _MOST_PARTS:
            self.parts.append(Part(name, began_ns, ended_ns, facts))


CURRENT: ContextVar[Exchange | None] = ContextVar("ai_assets_exchange", default=None)


_NOTHING = nullcontext()


def part(name: str) -> AbstractContextManager[None]:
    """Note how long this takes, where the request is traced."""
    exchange = CURRENT.get()
    return _NOTHING if exchange is None or not exchange.traced else _noted(exchange, name)


@contextmanager
def _noted(exchange: Exchange, name: str) -> Iterator[None]:
    began = time.time_ns()
    try:
        yield
    finally:
        exchange.took(name, began, time.time_ns())


def timed(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose calls are parts of requests."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            exchange = CURRENT.get()
            if exchange is None or not exchange.traced:
                return function(*args, **kwargs)
            with part(name):
                return function(*args, **kwargs)

        return call

    return decorate


def note_scored(scored: "Scored") -> None:
    """Note how long the batch took that this request was scored in."""
    exchange, took = CURRENT.get(), scored.took
    if exchange is None or not exchange.traced or took is None:
        return
    facts = {"ai_assets.bundle": scored.bundle, "ai_assets.batch.rows": took.rows}
    if took.sql_began_ns:
        exchange.took("features.sql", took.sql_began_ns, took.sql_ended_ns, **facts)
    exchange.took("model", took.model_began_ns, took.model_ended_ns, **facts)


def note_answered(scored: "Scored") -> None:
    """Note what answered a request, for whoever reads logs and traces."""
    exchange = CURRENT.get()
    if exchange is None:
        return
    exchange.bundles[scored.bundle] = None
    exchange.rows += len(scored.label)
    if exchange.traced:
        exchange.online.update({name: s.version for name, s in scored.snapshots.items()})


def _caller_trace(headers: Headers) -> str:
    for name, value in headers:
        if name == b"traceparent":
            found = _TRACEPARENT.fullmatch(value)
            return found[1].decode() if found and found[1] != _NO_TRACE else ""
    return ""
