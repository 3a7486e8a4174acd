"""Callers of `/predict` that note what became of each request: when, which status, who answered."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice


@dataclass(frozen=True)
class Call:
    """One request of one row.

    Attributes:
        began: `time.monotonic` when it was sent.
        ended: the same when its answer had come, or did not.
        status: what the server said; 0 where the connection broke.
        bundle: the bundle that answered; empty where none did.
        prediction_id: the answer's id; empty as above.
    """

    began: float
    ended: float
    status: int
    bundle: str = ""
    prediction_id: str = ""


@contextmanager
def calling(port: int, bodies: Sequence[str], callers: int) -> Iterator[list[Call]]:
    """Ask a server on this machine meanwhile; each caller sends its next request when answered.

    The list grows, and is whole when the block has ended: each caller has its last answer then.
    """
    calls: list[Call] = []
    stop = threading.Event()
    threads = [
        threading.Thread(target=_call, args=(port, islice(cycle(bodies), n, None), calls, stop))
        for n in range(callers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def p99_ms(calls: Sequence[Call]) -> float:
    """The 99th percentile of the time to the answer."""
    times = sorted(call.ended - call.began for call in calls)
    return 1000 * times[int(0.99 * (len(times) - 1))]


def _call(port: int, bodies: Iterator[str], calls: list[Call], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not stop.is_set():
        calls.append(_answer(connection, next(bodies)))
    connection.close()


def _answer(connection: http.client.HTTPConnection, body: str) -> Call:
    began = time.monotonic()
    try:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        connection.close()
        return Call(began, time.monotonic(), 0)
    ended = time.monotonic()
    if answer.status != 200:
        return Call(began, ended, answer.status)
    (prediction,) = content["predictions"]
    bundle = prediction.get("bundle", content["bundle"])
    return Call(began, ended, 200, bundle, prediction["prediction_id"])
