"""Bad requests to a server, over every way in: none may make it fail, or keep its memory.

Run as `python benchmarks/hostile.py --requests 20000`. The server is the newest bundle, with keys
and a durable log; the requests are made of good ones, drawn by a seed (`bad_requests.py`). Those
that a server failed are shown with their numbers; `--only NUMBER` sends one of them alone.
"""

import argparse
import json
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from bad_requests import Bad, BadRequests
from figures import Figure, report
from newest_bundle import newest_bundle
from peers import free_port, serving
from requests_of import request_bodies
from soak import MOST_GROWTH, resident_mb

from ai_assets.serving.access.keys import SCOPES, new_key
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.place import state_root

CALLERS, SHOWN = 8, 8
PATIENCE_S, QUIET_S = 60, 0.5
INFER = "/inference.GRPCInferenceService/ModelInfer"
# Codes of gRPC that stand for a failure of the server, and what each would be in HTTP.
FAILED = {"UNKNOWN": 500, "INTERNAL": 500, "DATA_LOSS": 500, "UNAVAILABLE": 503,
          "DEADLINE_EXCEEDED": 504, "UNIMPLEMENTED": 501}  # fmt: skip
# In the place of a status: neither an answer nor an end came in time.
HANGS = -1
# The head of an answer, and what stands for it within GraphQL, events and messages.
STATUS = re.compile(rb'^HTTP/1\.1 (\d{3})|"status": ?([45]\d\d)\b')


@dataclass
class Seen:
    """What became of requests.

    Attributes:
        statuses: how often each way was answered with each status; 0 where the connection ended
            without an answer.
        failed: numbers of those answered with 5xx, and the answers.
        silent: numbers of those that HTTP sees the end of, but that got no answer, and of those
            that were neither answered nor ended.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failed: list[tuple[int, bytes]] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)

    def of(self, number: int, bad: Bad, status: int, answer: bytes) -> None:
        """One more."""
        self.statuses[bad.way, status] += 1
        if status >= 500:
            self.failed.append((number, answer))
        if status == HANGS or (not status and bad.ends):
            self.silent.append(number)

    def count(self, low: int, high: int) -> int:
        """How many statuses lie from `low` to below `high`."""
        return sum(n for (_, status), n in self.statuses.items() if low <= status < high)


class Caller:
    """Sends requests, and sees what comes back.

    Args:
        port: of REST.
        grpc_port: of gRPC.
        token: the key.
    """

    def __init__(self, port: int, grpc_port: int, token: str) -> None:
        self._port, self._token = port, token
        channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self._infer = channel.unary_unary(INFER)

    def send(self, bad: Bad) -> tuple[int, bytes]:
        """The highest status in the answer, 0 without one, and the answer."""
        if bad.way == "gRPC":
            return self._over_grpc(bad.sent)
        try:
            answer = self._over_http(bad)
        except TimeoutError:
            return HANGS, b""
        found = [int(head or within) for head, within in STATUS.findall(answer)]
        return max(found, default=0), answer

    def _over_http(self, bad: Bad) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S) as line:
            if bad.opening:
                return _talked(line, bad)
            # A server may refuse before it has read all, and so must be heard meanwhile.
            sending = threading.Thread(target=_sent, args=(line, bad.sent, bad.ends), daemon=True)
            sending.start()
            answer = _heard(line)
            sending.join()
        return answer

    def _over_grpc(self, message: bytes) -> tuple[int, bytes]:
        key = (("x-api-key", self._token),)
        try:
            return 200, self._infer(message, timeout=PATIENCE_S, metadata=key)
        except grpc.RpcError as error:
            name = error.code().name
            words = f"{name}: {error.details()}"
            return FAILED.get(name, 400), words.encode()


def _talked(line: socket.socket, bad: Bad) -> bytes:
    """What a WebSocket says until it was closed."""
    _sent(line, bad.opening, True)
    answer = line.recv(65_536)
    head = answer.find(b"\r\n\r\n") + 4
    line.settimeout(QUIET_S)
    _sent(line, bad.sent, True)
    with suppress(TimeoutError, ConnectionError):
        while frames(answer[head:]) < bad.answers and (part := line.recv(65_536)):
            answer += part
    line.settimeout(PATIENCE_S)
    _sent(line, bad.closing, False)
    return answer + _heard(line)


def _heard(line: socket.socket) -> bytes:
    """All until the connection ends, in whichever way."""
    answer = b""
    with suppress(ConnectionError):
        while part := line.recv(65_536):
            answer += part
    return answer


def frames(content: bytes) -> int:
    """How many whole frames of a server the bytes hold."""
    count = at = 0
    while at + 2 <= len(content):
        size, head = content[at + 1] & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(content[at + 2 : at + head], "big")
        at += head + size
        count += at <= len(content)
    return count


def _sent(line: socket.socket, content: bytes, more: bool) -> None:
    """Send it, and say where no more will come. What the server thinks of it is for its answer."""
    with suppress(OSError):
        line.sendall(content)
        if not more:
            line.shutdown(socket.SHUT_WR)


def all_sent(caller: Caller, requests: BadRequests, numbers: Iterable[int]) -> Seen:
    """Send the requests of those numbers, by several callers at once."""
    seen = Seen()

    def one(number: int) -> tuple[int, Bad, int, bytes]:
        bad = requests.make(number)
        return number, bad, *caller.send(bad)

    with ThreadPoolExecutor(CALLERS) as callers:
        for number, bad, status, answer in callers.map(one, numbers):
            seen.of(number, bad, status, answer)
    return seen


def settled_mb(pid: int) -> float:
    """Resident memory once nothing is under way."""
    time.sleep(2)
    return resident_mb(pid)


@dataclass(frozen=True)
class Good:
    """Good requests, over REST."""

    client: httpx.Client
    rows: list[dict[str, Any]]

    def answers(self) -> list[tuple[Any, ...]]:
        """What the model says of some rows."""
        asked = self.client.post("/predict", json=self.rows[:50])
        found = asked.raise_for_status().json()["predictions"]
        return [(one["probability"], one["label"]) for one in found]

    def outcomes(self) -> list[dict[str, Any]]:
        """Feedback on answers, by their ids."""
        asked = self.client.post("/predict", json=self.rows[:20]).raise_for_status()
        told = [{"prediction_id": one["prediction_id"]} for one in asked.json()["predictions"]]
        return [{**one, "outcome": True, "known_at": "2013-03-02T00:00:00Z"} for one in told]


def main() -> int:
    """Send bad requests to the newest bundle; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20_131)
    parser.add_argument("--only", type=int, help="send the request of this number, and show it")
    given = parser.parse_args()
    payload = newest_bundle(given.product)[1]
    rows = [json.loads(body) for body in request_bodies(payload)]
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as temporary:
        folder = Path(temporary)
        key, token = new_key("hostile", list(SCOPES), time.time())
        KeyFile(folder / "access.sqlite").add(key)
        headers = {"X-API-Key": token}
        port, grpc_port = free_port(), free_port()
        ports = ["--port", str(port), "--grpc-port", str(grpc_port)]
        environment = {
            "AI_ASSETS_HOME": str(state_root()),
            "AI_ASSETS_ACCESS": "keys",
            "AI_ASSETS_KEYS": str(folder / "access.sqlite"),
            "AI_ASSETS_LOG": str(folder / "answers.sqlite"),
        }
        with (
            serving(
                ["-m", "ai_assets.serving", "--bundle", str(payload), *ports],
                port, ("/predict", json.dumps(rows[0])),
                folder=folder, environment=environment, headers=headers,
            ) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client,
        ):  # fmt: skip
            good = Good(client, rows)
            requests = BadRequests(rows, good.outcomes(), given.product, token, given.seed)
            caller = Caller(port, grpc_port, token)
            if given.only is not None:
                return shown(requests.make(given.only), caller)
            return report(measured(caller, requests, good, server.pid, given.requests))


def shown(bad: Bad, caller: Caller) -> int:
    """Send one request, and print it and its answer."""
    status, answer = caller.send(bad)
    for part in (bad.opening, bad.sent, answer):
        print(part[:4000], end="\n\n")
    return int(status >= 500)


def measured(
    caller: Caller, requests: BadRequests, good: Good, pid: int, count: int
) -> list[Figure]:
    """Send `count` requests, after a tenth as many others that import what is imported late."""
    before = good.answers()
    all_sent(caller, requests, range(count, count + count // 10))
    early = settled_mb(pid)
    began = time.perf_counter()
    seen = all_sent(caller, requests, range(count))
    seconds = time.perf_counter() - began
    late = settled_mb(pid)
    for number, answer in seen.failed[:SHOWN]:
        print(f"failed: {number} ({requests.make(number).way}): {answer[:300]!r}")
    for number in seen.silent[:SHOWN]:
        print(f"without an answer: {number}: {requests.make(number).sent[:200]!r}")
    print(f"{count / seconds:,.0f} requests/s; by status:", flush=True)
    for way in requests.ways:
        found = sorted((s, n) for (w, s), n in seen.statuses.items() if w == way)
        print(f"  {way}: " + ", ".join(f"{status}: {n:,}" for status, n in found))
    growth, same = late / early - 1, good.answers() == before
    accepted, told = seen.count(100, 400), f"{count:,} bad requests"
    return [
        Figure(f"{told}, answers of 5xx", str(len(seen.failed)), "", None, "0", not seen.failed),
        Figure("without an answer", str(len(seen.silent)), "", None, "0", not seen.silent),
        Figure(
            "refused", f"{seen.count(400, 500):,}", f"{accepted:,} taken", None,
            ">= half are bad enough", seen.count(400, 500) >= count / 2,
        ),
        Figure(
            "memory after and before, MB", f"{late:.1f}", f"{early:.1f}", late / early,
            f"<= +{MOST_GROWTH:.0%} (is {growth:+.1%})", growth <= MOST_GROWTH,
        ),
        Figure("answers to good rows, after and before", "same" if same else "others", "", None,
               "same", same),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
