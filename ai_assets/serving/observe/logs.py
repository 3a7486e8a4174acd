"""Log lines, as text or as JSON. None holds what a caller sent, nor the message of an error.

An exception's message often repeats the value that caused it, so of an exception the lines hold its
type and the places in the code that it came through.
"""

import json
import logging
import random
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from ai_assets.serving.observe.exchange import CURRENT

if TYPE_CHECKING:
    from ai_assets.serving.observe.exchange import Exchange

FORMS = ("text", "json")
_REQUESTS = logging.getLogger("ai_assets.requests")
_FAILURES = logging.getLogger("ai_assets.failures")
_MOST_PLACES = 12
_CAUSES = 3


def set_up(form: str, answered: float) -> None:
    """Have all that this process logs written in a form, to stderr.

    Text goes where Python's logging sends it; only lines of answered requests ask for more.

    Args:
        form: one of `FORMS`.
        answered: share of answered requests that get a line too.
    """
    root = logging.getLogger()
    if answered > 0:
        _REQUESTS.setLevel(logging.INFO)
    if form == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.handlers[:] = [handler]
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "bentoml"):
            logging.getLogger(name).handlers[:] = []
            logging.getLogger(name).propagate = True
    elif answered > 0 and not root.handlers:
        root.addHandler(logging.StreamHandler(sys.stderr))


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        content: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        exchange = CURRENT.get()
        if facts is not None:
            content |= facts
        elif exchange is not None:
            content["trace_id"] = exchange.trace_id
        if record.exc_info and record.exc_info[1] is not None:
            content["error"] = without_values(record.exc_info[1])
        return json.dumps(content, ensure_ascii=False, default=str)


def request_ended(
    exchange: "Exchange", product: str, route: str, status: int, answered: float
) -> None:
    """Write a line of a request: always of one that was refused or failed.

    Args:
        exchange: the request.
        product: what was asked.
        route: the pattern of its path: the path itself is the caller's text.
        status: what the caller was told.
        answered: share of answered requests that get a line too.
    """
    if status < 400:
        if not answered or random.random() >= answered:
            return
        level, word = logging.INFO, "answered"
    elif status < 500:
        level, word = logging.WARNING, "refused"
    else:
        level, word = logging.ERROR, "failed"
    milliseconds = round(1000 * (time.perf_counter() - exchange.began), 3)
    facts: dict[str, Any] = {
        "product": product,
        "method": exchange.method,
        "route": route,
        "status": status,
        "ms": milliseconds,
        "trace_id": exchange.trace_id,
    }
    if exchange.key_id:
        facts["key_id"] = exchange.key_id
    if exchange.bundles:
        facts |= {"bundle": ", ".join(exchange.bundles), "rows": exchange.rows}
    who = f", key {exchange.key_id}" if exchange.key_id else ""
    words = "%s %s %s: %d in %.1f ms%s, trace %s"
    values = (word, exchange.method, route, status, milliseconds, who, exchange.trace_id)
    _REQUESTS.log(level, words, *values, extra={"facts": facts})


def failed(error: BaseException, where: str) -> None:
    """Write a line of an exception that nobody expected."""
    told = without_values(error)
    exchange = CURRENT.get()
    facts = {"where": where, "error": told}
    if exchange is not None:
        facts["trace_id"] = exchange.trace_id
    places = " < ".join(reversed(told["places"]))
    _FAILURES.error("%s failed: %s at %s", where, told["type"], places, extra={"facts": facts})


def without_values(error: BaseException) -> dict[str, Any]:
    """An exception's types and places, its causes included, without its messages."""
    names: list[str] = []
    places: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(names) < _CAUSES:
        names.append(type(seen).__name__)
        places += [
            f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(seen.__traceback__)
        ][-_MOST_PLACES:]
        seen = seen.__cause__ or seen.__context__
    return {"type": " from ".join(names), "places": places}
