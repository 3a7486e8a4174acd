"""Callers that use the protocol's usual client, `tritonclient`: their own work is measured too.

A call makes the request of arrays, and ends with the probabilities as an array.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ai_assets.serving.protocols.tensors import Output

_ARRAYS: dict[str, Any] = {"BYTES": object, "INT64": np.int64, "FP64": float, "FP32": np.float32}


def arrays(tensors: list[Output]) -> list[tuple[str, str, np.ndarray]]:
    """Name, type and values of each tensor."""
    return [
        (t.name, t.datatype, np.array(t.values, dtype=_ARRAYS.get(t.datatype)).reshape(t.shape))
        for t in tensors
    ]


class TritonRest:
    """Calls over REST; binary tensors, or JSON."""

    def __init__(self, port: int, model: str, tensors: list[Output], *, binary: bool) -> None:
        self._address, self._model, self._binary = f"127.0.0.1:{port}", model, binary
        self._arrays = arrays(tensors)

    def caller(self) -> Callable[[], None]:
        """A function that asks once, over a connection of its own."""
        from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

        client = InferenceServerClient(self._address)
        wanted = [InferRequestedOutput("probability", binary_data=self._binary)]

        def call() -> None:
            given = []
            for name, kind, values in self._arrays:
                given.append(InferInput(name, list(values.shape), kind))
                given[-1].set_data_from_numpy(values, binary_data=self._binary)
            client.infer(self._model, given, outputs=wanted).as_numpy("probability")

        return call


class TritonGrpc:
    """Calls over gRPC."""

    def __init__(self, port: int, model: str, tensors: list[Output]) -> None:
        self._address, self._model = f"127.0.0.1:{port}", model
        self._arrays = arrays(tensors)

    def caller(self) -> Callable[[], None]:
        """A function that asks once, over a connection of its own."""
        from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

        client = InferenceServerClient(self._address)
        wanted = [InferRequestedOutput("probability")]

        def call() -> None:
            given = []
            for name, kind, values in self._arrays:
                given.append(InferInput(name, list(values.shape), kind))
                given[-1].set_data_from_numpy(values)
            client.infer(self._model, given, outputs=wanted).as_numpy("probability")

        return call
