"""Running an ONNX model as the server does: on the CPU, one thread a request."""

import time
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.pieces import rows_at_once

WARM_UP = 20


def open_session(model: bytes, *, threads: int = 1) -> Any:
    """An onnxruntime session of a model with input `x` and output `y`.

    Raises:
        DataError: the model has other inputs or outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model, sess_options=options, providers=["CPUExecutionProvider"]
    )
    inputs, outputs = [[v.name for v in vs] for vs in (session.get_inputs(), session.get_outputs())]
    if (inputs, outputs) != (["x"], ["y"]):
        raise DataError(
            f"a model must read x and write y, but it reads {inputs}, writes {outputs}."
        )
    return session


def run_session(session: Any, x: np.ndarray) -> np.ndarray:
    """Predictions float64 [n, K] for a float32 matrix [n, F], piece by piece."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    rows = rows_at_once(session)
    starts = range(0, max(len(x), 1), rows)
    parts = [session.run(["y"], {"x": x[start : start + rows]})[0] for start in starts]
    return np.concatenate(parts).astype(np.float64)


def single_row_latency(session: Any, x: np.ndarray, repeats: int = 300) -> tuple[float, float]:
    """Median and 99th percentile of scoring one row, in milliseconds, over `repeats` rows of x."""
    rows = [x[i % len(x)][None, :].astype(np.float32) for i in range(repeats + WARM_UP)]
    taken = []
    for row in rows:
        start = time.perf_counter()
        session.run(["y"], {"x": row})
        taken.append((time.perf_counter() - start) * 1e3)
    p50, p99 = np.quantile(taken[WARM_UP:], [0.5, 0.99])
    return float(p50), float(p99)
