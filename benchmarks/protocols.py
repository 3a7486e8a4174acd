"""The standard protocols against LightGBM in process, and gRPC against REST, same model and rows.

Run as `python benchmarks/protocols.py`. The server runs in a process of its own. The goal of gRPC
is what one caller with the protocols' usual client gets of a matrix, from arrays to arrays, each
protocol in the form that every server of it takes: over REST that is JSON. Told beside it, without
a goal: REST with binary tensors, which are an extension; raw columns, where both wait for the same
SQL; and the server alone, asked by many with bytes that were made before.
"""

import argparse
import http.client
import json
import sys
import tempfile
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import grpc
import numpy as np
import polars as pl
from figures import Figure, report
from peers import free_port, serving
from requests_of import request_rows
from trees_bundle import Trees, trees_bundle
from triton_callers import TritonGrpc, TritonRest

from ai_assets.serving.bundle import Bundle, load_bundle
from ai_assets.serving.place import state_root
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.protocols.tensors import Output, Spec, to_raw

MANY, SOME, ROUNDS, SECONDS = 10_000, 100, 9, 1.5
TURNS, TIMES = 5, 1.5
VECTORS, RAW = "ready vectors", "raw columns"
CLIENT, ALONE = "tritonclient", "the server alone"
CALLERS = {CLIENT: 1, ALONE: 8}
ASKED = [(given, who) for given in (VECTORS, RAW) for who in CALLERS]
JSON, BINARY = "JSON", "binary"
REST_FORMS = (JSON, BINARY)
INFER = "/inference.GRPCInferenceService/ModelInfer"
_TYPES = {"string": "BYTES", "int64": "INT64", "float64": "FP64", "bool": "BOOL"}


def columns(bundle: Bundle, rows: pl.DataFrame) -> list[Output]:
    """The rows as tensors; columns with missing values are left out."""
    found = []
    for name, column in bundle.request.table.columns.items():
        values = rows[name]
        if column.type == "datetime":
            values = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        if not values.has_nulls():
            found.append(Output(name, _TYPES.get(column.type, "BYTES"), values.to_list()))
    return found


def vectors(matrix: np.ndarray) -> list[Output]:
    """The encoded matrix as a tensor."""
    return [Output("features", "FP32", matrix.ravel().tolist(), matrix.shape[1])]


class Protocol(typing.Protocol):
    """A way to ask the server."""

    def caller(self) -> Callable[[], None]:
        """A function that asks once, over a connection of its own."""


class Rest:
    """Calls over REST; binary tensors, or JSON."""

    def __init__(self, port: int, model: str, tensors: list[Output], *, binary: bool) -> None:
        self._port, self.path = port, f"/v2/models/{model}/infer"
        heads, raw = [], b""
        for tensor in tensors:
            spec = Spec(tensor.name, tensor.datatype, tuple(tensor.shape)).content()
            if binary:
                content = to_raw(tensor)
                raw += content
                heads.append({**spec, "parameters": {"binary_data_size": len(content)}})
            else:
                heads.append({**spec, "data": list(tensor.values)})
        head = json.dumps({"inputs": heads, "parameters": {"binary_data_output": binary}}).encode()
        self.body = head + raw
        self._headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}

    def caller(self) -> Callable[[], None]:
        """A function that asks once, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)

        def call() -> None:
            connection.request("POST", self.path, self.body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                sys.exit(f"{answer.status}: {content[:300]!r}")

        return call


class Grpc:
    """Calls over gRPC, raw tensors."""

    def __init__(self, port: int, model: str, tensors: list[Output]) -> None:
        request = pb.ModelInferRequest(model_name=model)
        for tensor in tensors:
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            request.raw_input_contents.append(to_raw(tensor))
        self._body, self._port = request.SerializeToString(), port

    def caller(self) -> Callable[[], None]:
        """A function that asks once, over a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options)
        ask = channel.unary_unary(INFER)
        return lambda: (ask(self._body), None)[1]


def once_s(call: Callable[[], object]) -> float:
    """Median seconds of a call, after one to warm up."""
    call()
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def calls_a_second(protocol: Protocol, callers: int) -> float:
    """Answers a second to callers that each ask one after another."""
    end = time.perf_counter() + SECONDS

    def ask(_: int) -> int:
        call, count = protocol.caller(), 0
        while time.perf_counter() < end:
            call()
            count += 1
        return count

    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(ask, range(callers))) / SECONDS


def calls_of_each(protocols: Sequence[Protocol], callers: int) -> list[float]:
    """Median answers a second of each; they take turns, so that noise meets all alike."""
    rounds = [[calls_a_second(protocol, callers) for protocol in protocols] for _ in range(TURNS)]
    return [median(found) for found in zip(*rounds, strict=True)]


@contextmanager
def started(trees: Trees, ask: tuple[str, str], folder: Path) -> Iterator[tuple[int, int]]:
    """The server, with limits that let 10,000 rows through: its ports for REST and gRPC.

    It keeps its record in the folder: what is asked here is no answer to a caller.
    """
    port, grpc_port = free_port(), free_port()
    command = ["-m", "ai_assets.serving", "--bundle", str(trees.payload), "--port", str(port)]
    environment = {
        "AI_ASSETS_HOME": str(state_root()),
        "AI_ASSETS_MAX_ROWS": str(MANY),
        "AI_ASSETS_MAX_BODY": "20000000",
        "AI_ASSETS_ACCESS": "open",
        "AI_ASSETS_LOG": str(folder / "answers.sqlite"),
    }
    command += ["--grpc-port", str(grpc_port)]
    with serving(command, port, ask, folder=folder, environment=environment):
        yield port, grpc_port


def main() -> int:
    """Measure a bundle; 1 if a goal is missed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder:
        return measure(trees_bundle(Path(folder)), Path(folder))


def measure(trees: Trees, folder: Path) -> int:
    """Print the figures of a bundle whose model is trees; the server writes below the folder."""
    payload, booster = trees.payload, trees.booster
    bundle = load_bundle(payload)
    rows, matrix = request_rows(bundle, MANY)
    ready, raw = f"{bundle.product}_vectors", bundle.product
    some = {VECTORS: (ready, vectors(matrix[:SOME])), RAW: (raw, columns(bundle, rows.tail(SOME)))}
    seconds = {}
    first = Rest(0, raw, columns(bundle, rows.tail(1)), binary=False)
    with started(trees, (first.path, first.body.decode()), folder) as ports:
        port, grpc_port = ports
        for name, protocol in (
            (f"{VECTORS}, gRPC", Grpc(grpc_port, ready, vectors(matrix))),
            (f"{VECTORS}, REST {BINARY}", Rest(port, ready, vectors(matrix), binary=True)),
            (f"{RAW}, gRPC", Grpc(grpc_port, raw, columns(bundle, rows))),
        ):
            theirs, ours = once_s(lambda: booster.predict(matrix)), once_s(protocol.caller())
            seconds[name] = ours, theirs
        rates = {
            (given, who): calls_of_each(_protocols(who, *ports, *some[given]), CALLERS[who])
            for given, who in ASKED
        }
    return report(figures_of(seconds, rates))


def _protocols(
    who: str, port: int, grpc_port: int, model: str, some: list[Output]
) -> list[Protocol]:
    """gRPC, and REST in each of its forms."""
    forms = [form == BINARY for form in REST_FORMS]
    if who == CLIENT:
        over_rest = [TritonRest(port, model, some, binary=binary) for binary in forms]
        return [TritonGrpc(grpc_port, model, some), *over_rest]
    rest = [Rest(port, model, some, binary=binary) for binary in forms]
    return [Grpc(grpc_port, model, some), *rest]


def figures_of(
    seconds: dict[str, tuple[float, float]], rates: dict[tuple[str, str], list[float]]
) -> list[Figure]:
    """What is told of what was measured.

    Args:
        seconds: of a call with many rows and of LightGBM with the same, by the call's name.
        rates: calls a second with some rows over gRPC and over each form of REST, by what is given
            and who asks.
    """
    figures = [_many(name, ours, theirs) for name, (ours, theirs) in seconds.items()]
    for (given, who), (ours, *others) in rates.items():
        for form, theirs in zip(REST_FORMS, others, strict=True):
            has_goal = (given, who, form) == (VECTORS, CLIENT, JSON)
            name = f"{given}, gRPC against REST {form}, {who}"
            figures.append(some_rows(name, ours, theirs, has_goal=has_goal))
    return figures


def _many(name: str, ours: float, theirs: float) -> Figure:
    ratio = theirs / ours
    return Figure(
        f"{MANY:,} {name}", f"{MANY / ours:,.0f} rows/s", f"{MANY / theirs:,.0f} rows/s",
        ratio, ">= 0.5 of LightGBM", ratio >= 0.5,
    )  # fmt: skip


def some_rows(name: str, ours: float, theirs: float, *, has_goal: bool) -> Figure:
    """Calls a second over gRPC beside those over REST."""
    ratio = ours / theirs
    return Figure(
        f"{SOME} {name}",
        f"{SOME * ours:,.0f} rows/s",
        f"{SOME * theirs:,.0f} rows/s",
        ratio,
        f">= {TIMES}" if has_goal else "",
        ratio >= TIMES if has_goal else None,
    )


if __name__ == "__main__":
    sys.exit(main())
