"""Rows as arrays of the Open Inference Protocol v2, and a server to ask over REST and gRPC."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import small_payload as small
from serving_processes import running

MOST_ROWS = 50
ROWS = [
    {**small.ROW, "distance": distance, "place": place, "weight": weight}
    for distance, place, weight in ((1400, "EWR", 2.5), (200, "JFK", None), (6000, "LGA", 0.0))
]
_TYPES = {str: ("BYTES", np.object_), int: ("INT64", np.int64), float: ("FP64", np.float64)}


def arrays(rows: list[dict[str, Any]]) -> list[tuple[str, str, np.ndarray]]:
    """Name, datatype and values [n] of each column; None becomes NaN."""
    found = []
    for name in rows[0]:
        values = [row[name] for row in rows]
        kind = next(type(value) for value in values if value is not None)
        datatype, dtype = _TYPES[kind]
        filled = [float("nan") if value is None else value for value in values]
        found.append((name, datatype, np.array(filled, dtype=dtype)))
    return found


def inputs(kind: Any, rows: list[dict[str, Any]], **how: Any) -> list[Any]:
    """The columns as `InferInput` of one of Triton's clients."""
    found = []
    for name, datatype, values in arrays(rows):
        tensor = kind(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **how)
        found.append(tensor)
    return found


def expected(served: httpx.Client, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What /predict answers."""
    answer = served.post("/predict", json=rows)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


@contextmanager
def served_by_both(shared: Path, folder: Path) -> Iterator[tuple[httpx.Client, int]]:
    """A server in its own process: a client of its REST side, and the port of its gRPC side."""
    with ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(2)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        port, grpc_port = (probe.getsockname()[1] for probe in found)
    command = ["ai_assets.serving", "--bundle", str(shared / "payload")]
    command += ["--port", str(port), "--grpc-port", str(grpc_port)]
    environment = {
        "AI_ASSETS_LAKE": str(shared / "lake"),
        "AI_ASSETS_MAX_ROWS": str(MOST_ROWS),
        "AI_ASSETS_MAX_BODY": "100000",
    }
    with running(command, f"http://127.0.0.1:{port}", folder, environment) as client:
        yield client, grpc_port
