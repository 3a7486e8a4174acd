"""A profile of the running process, on demand: where its threads are, many times a second.

Samples are taken by a thread of this process, so what holds Python's lock for long is seen less
often than it lasts; work in DuckDB and ONNX Runtime counts for the line that waits for it.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ai_assets.serving.problems import Refused

if TYPE_CHECKING:
    from ai_assets.serving.app import Server

PATH, ROUTE = "/debug/profile", "debug/profile"
MOST_S, MOST_HZ = 60.0, 500
_HZ = 100
_DEPTH = 128


def profile_routes(server: "Server") -> list[Route]:
    """The route that answers a profile."""
    return [Route(PATH, _Profiler(server).answer, methods=["POST"])]


class _Profiler:
    """The handler. One profile is taken at a time."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._busy = False

    async def answer(self, request: Request) -> Response:
        """Stacks with how often each was seen, as flame graph tools and speedscope read them."""
        began, status = time.perf_counter(), 500
        try:
            seconds = _number(request, "seconds", 5.0, MOST_S)
            hertz = _number(request, "hz", _HZ, MOST_HZ)
            if self._busy:
                after = str(int(MOST_S))
                raise Refused(429, "A profile is being taken.", headers={"Retry-After": after})
            self._busy = True
            try:
                text = await asyncio.to_thread(collapsed, seconds, hertz)
            finally:
                self._busy = False
            status = 200
            return Response(text, media_type="text/plain")
        except Refused as refused:
            status = refused.status
            return _json(refused)
        finally:
            self._server.answered(ROUTE, status, began)


def collapsed(seconds: float, hertz: float) -> str:
    """A line a stack: its frames from the outermost, by `;`, and how often it was seen.

    Args:
        seconds: how long to look.
        hertz: looks a second.
    """
    own, end, counts = threading.get_ident(), time.monotonic() + seconds, Counter[str]()
    while time.monotonic() < end:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                counts[_stack(names.get(ident, "thread"), frame)] += 1
        time.sleep(1 / hertz)
    return "".join(f"{stack} {count}\n" for stack, count in counts.most_common())


def _stack(thread: str, frame: FrameType | None) -> str:
    places: list[str] = []
    while frame is not None and len(places) < _DEPTH:
        module = frame.f_globals.get("__name__", "?")
        places.append(f"{module}.{frame.f_code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    # The thread's number says nothing, and would keep equal stacks of a pool apart.
    pool = thread.rstrip("0123456789").rstrip("_-") or "thread"
    return ";".join([pool, *reversed(places)]).replace(" ", "_")


def _number(request: Request, name: str, default: float, most: float) -> float:
    text = request.query_params.get(name)
    try:
        found = default if text is None else float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= most:
        raise Refused(400, f"{name} must be a number above 0 and at most {most:g}.")
    return found


def _json(refused: Refused) -> Response:
    text = json.dumps(refused.content())
    return Response(text, refused.status, dict(refused.headers), media_type="application/json")
