"""Graphs whose weights, or weights and activations, are 8-bit integers."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.graphs import PRODUCER

CALIBRATION_ROWS = 512
LEAST_WEIGHTS = 256
"""Smaller constants cost more nodes than they save."""
_LAST = ("MatMul", "Gemm")


def dynamic_int8(model: bytes, kinds: Sequence[str], *, per_channel: bool = False) -> bytes:
    """Weights of some kinds of nodes as 8-bit integers, activations quantized as they come.

    Each row has a range of its own, see `quantized_by_row`. The last layer stays as it is: it is
    tiny, and its rounding would reach the output undamped.

    Args:
        model: the graph.
        kinds: operators to quantize, such as MatMul.
        per_channel: a scale for each column of a weight instead of one for all.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = _with_shapes(model)
    nodes = [node.name for node in graph.graph.node if node.op_type in kinds]
    last = _last_layer(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=list(kinds),
            nodes_to_quantize=[name for name in nodes if name != last],
            weight_type=QuantType.QInt8,
            per_channel=per_channel,
        )
        return _plain(_by_row(onnx.load(path)))


def quantized_by_row(
    given: str, whole: str, step: str, zero: str, axes: Sequence[int] = (-1,)
) -> tuple[list[Any], list[Any]]:
    """What quantizes each row of a tensor by its own largest number: nodes and constants.

    In place of `DynamicQuantizeLinear`, which has one range for all that is scored at once: a
    caller's answer would depend on who else asks at the time.

    The integers' product is to be multiplied by the weights' scales first and by these then: of the
    two multiplied before it, ONNX Runtime makes an operator that takes them for one number.

    Args:
        given: name of the tensor.
        whole: name of the output, uint8 around 128.
        step: name of the scales, 1 long along the axes.
        zero: name of what stands for 0, uint8.
        axes: along which a row lies.
    """
    from onnx import helper, numpy_helper

    least, most, one = f"{whole}_least", f"{whole}_most", f"{whole}_one"
    values: dict[str, Any] = {least: np.float32(1e-12), most: np.float32(127), one: np.float32(1)}
    values[zero] = np.uint8(128)
    size, largest, above, unit = (f"{whole}_{n}" for n in ("size", "largest", "above", "unit"))
    nodes = [
        helper.make_node("Abs", [given], [size]),
        helper.make_node("ReduceMax", [size], [largest], axes=list(axes), keepdims=1),
        helper.make_node("Max", [largest, least], [above]),
        helper.make_node("Div", [above, most], [step]),
        helper.make_node("Div", [given, step], [unit]),
        helper.make_node("QuantizeLinear", [unit, one, zero], [whole]),
    ]
    for node in nodes:
        node.name = f"{node.op_type}_{node.output[0]}"
    return nodes, [numpy_helper.from_array(np.array(v), name) for name, v in values.items()]


def static_int8(model: bytes, x: np.ndarray, kinds: Sequence[str]) -> bytes:
    """Weights and activations as 8-bit integers, each activation's range known beforehand.

    Weights have a scale for each channel. As `QuantizeLinear` and `DequantizeLinear` around the
    operators, which the runtime fuses into integer ones.

    Args:
        model: the graph.
        x: float32 [n, F], rows of training that tell the ranges; the first 512 are used.
        kinds: operators to quantize.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Any] = iter([{"x": x[:CALIBRATION_ROWS].astype(np.float32)}])

        def get_next(self) -> Any:
            return next(self.batches, None)

    graph = _with_shapes(model)
    last = _last_layer(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            graph,
            path,
            Rows(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            nodes_to_exclude=[last] if last else [],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return _plain(onnx.load(path))


def _with_shapes(model: bytes) -> Any:
    """The graph with the shapes of its values, as the quantizer wants it."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shapes.onnx"
        # The runtime optimizes what it loads; symbolic inference is for sizes that are not known.
        quant_pre_process(
            onnx.load_from_string(model), path, skip_optimization=True, skip_symbolic_shape=True
        )
        return onnx.load(path)


def int8_weights(model: bytes) -> bytes:
    """Weights stored as 8-bit integers with a scale for each channel, and computed with as floats.

    A quarter of the size at the same speed: the runtime turns constants back as it loads them.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.load_from_string(model)
    axes = _channel_axes(graph)
    kept, added = [], []
    for constant in graph.graph.initializer:
        value = numpy_helper.to_array(constant)
        name = constant.name
        if name not in axes or value.dtype != np.float32 or value.size < LEAST_WEIGHTS:
            kept.append(constant)
            continue
        others = tuple(at for at in range(value.ndim) if at != axes[name] % value.ndim)
        scale = np.abs(value).max(axis=others, keepdims=True) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        whole = np.round(value / scale).clip(-127, 127).astype(np.int8)
        kept.append(numpy_helper.from_array(whole, f"{name}q"))
        kept.append(numpy_helper.from_array(scale, f"{name}s"))
        added.append(helper.make_node("Cast", [f"{name}q"], [f"{name}f"], to=TensorProto.FLOAT))
        added.append(helper.make_node("Mul", [f"{name}f", f"{name}s"], [name]))
    nodes = [*added, *graph.graph.node]
    del graph.graph.initializer[:], graph.graph.node[:]
    graph.graph.initializer.extend(kept)
    graph.graph.node.extend(nodes)
    return _plain(graph)


def sparse_weights(model: bytes) -> bytes:
    """Weights that are mostly 0 stored by their places and values.

    A place costs 8 bytes and a value 4, so that only weights of which more than two thirds are 0
    get smaller. The runtime makes them dense again: nothing gets faster.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = onnx.load_from_string(model)
    kept = []
    for constant in graph.graph.initializer:
        value = numpy_helper.to_array(constant)
        places = np.flatnonzero(value)
        if value.dtype != np.float32 or 12 * len(places) >= value.nbytes or not len(places):
            kept.append(constant)
            continue
        numbers = numpy_helper.from_array(value.ravel()[places], constant.name)
        indices = helper.make_tensor(
            f"{constant.name}i",
            TensorProto.INT64,
            [len(places)],
            places.astype("<i8").tobytes(),
            True,
        )
        found = helper.make_sparse_tensor(numbers, indices, list(value.shape))
        graph.graph.sparse_initializer.append(found)
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    return _plain(graph)


def _by_row(model: Any) -> Any:
    """The graph with each `DynamicQuantizeLinear` replaced by what does it row by row."""
    from onnx import helper

    graph, nodes = model.graph, []
    of_images = {node.input[0] for node in graph.node if node.op_type == "ConvInteger"}
    steps: set[str] = set()
    both: dict[str, tuple[str, str]] = {}
    for node in graph.node:
        factors = next((both[name] for name in node.input if name in both), None)
        if node.op_type == "DynamicQuantizeLinear":
            axes = (1, 2, 3) if node.output[0] in of_images else (-1,)
            whole, step, zero = node.output
            made, constants = quantized_by_row(node.input[0], whole, step, zero, axes)
            nodes += made
            graph.initializer.extend(constants)
            steps.add(node.output[1])
        elif node.op_type == "Mul" and node.input[0] in steps:
            both[node.output[0]] = node.input[0], node.input[1]
        elif factors is not None:
            step, scale = factors
            half, name = f"{node.output[0]}_half", node.output[0]
            nodes.append(helper.make_node("Mul", [node.input[0], scale], [half], name=f"M_{half}"))
            nodes.append(helper.make_node("Mul", [half, step], [name], name=node.name))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _last_layer(model: Any) -> str:
    names = [node.name for node in model.graph.node if node.op_type in _LAST]
    return names[-1] if names else ""


def _channel_axes(model: Any) -> dict[str, int]:
    """Which axis of each weight has a scale of its own: that of what comes out."""
    found: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            found[node.input[1]] = 0
        elif node.op_type == "Gather":
            found[node.input[0]] = 0
        elif node.op_type == "MatMul":
            found |= dict.fromkeys(node.input, -1)
    return found


def _plain(model: Any) -> bytes:
    """The graph without what tells who made it when: equal graphs have equal bytes."""
    model.producer_name = PRODUCER
    for part in ("producer_version", "doc_string", "metadata_props"):
        model.ClearField(part)
    del model.graph.value_info[:]
    return bytes(model.SerializeToString(deterministic=True))
