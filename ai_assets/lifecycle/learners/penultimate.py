"""What the last layer of a served graph reads: the embedding, found in the graph itself.

So whatever is served has one, made smaller or quantized too, and no graph has to say it.
"""

from math import prod
from typing import Any

import numpy as np

from ai_assets.lifecycle.schema.pieces import rows_at_once

_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul")
# What stands between a layer's numbers and its product, and changes nothing that matters here.
_BETWEEN = ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "Cast", "Identity")


def embedding_name(content: bytes) -> str | None:
    """The tensor [N, D] that the last matrix product with constants reads; None without one.

    Args:
        content: an ONNX graph that writes `y`.
    """
    import onnx

    graph = onnx.load_from_string(content).graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {each.name for each in graph.initializer}
    waiting, seen = ["y"], set()
    while waiting:
        name = waiting.pop(0)
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in _PRODUCTS and any(_is_fixed(n, makers, constants) for n in node.input):
            return _real(str(node.input[0]), makers)
        waiting += [given for given in node.input if given not in constants]
    return None


def embedder(content: bytes, *, threads: int = 1) -> "Embedder | None":
    """What gives the embedding of rows of the matrix; None where the graph has none."""
    name = embedding_name(content)
    return None if name is None else Embedder(content, name, threads)


class Embedder:
    """The served graph, up to what its last layer reads."""

    def __init__(self, content: bytes, name: str, threads: int) -> None:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper

        model = onnx.load_from_string(content)
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._name = name
        self._session: Any = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, D] of rows of the matrix [n, F], some at a time."""
        rows = rows_at_once(self._session)
        parts = [
            self._session.run([self._name], {"x": np.ascontiguousarray(x[at : at + rows])})[0]
            for at in range(0, max(len(x), 1), rows)
        ]
        found = np.concatenate(parts)
        return found.reshape(len(found), prod(found.shape[1:]))


def _is_fixed(name: str, makers: dict[str, Any], constants: set[str]) -> bool:
    """Whether a tensor is a constant, if need be read back from a quantized one."""
    while name not in constants:
        node = makers.get(name)
        if node is None or node.op_type not in (*_BETWEEN, "Transpose"):
            return False
        name = node.input[0]
    return True


def _real(name: str, makers: dict[str, Any]) -> str:
    """The real numbers behind what a quantized product reads."""
    while (node := makers.get(name)) is not None and node.op_type in _BETWEEN:
        name = node.input[0]
    return name
