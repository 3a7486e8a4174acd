"""The image network as an ONNX graph: normalisations folded into the convolutions."""

import numpy as np

from ai_assets.lifecycle.learners.base import Task
from ai_assets.lifecycle.learners.cnn_network import DENSE, Weights
from ai_assets.lifecycle.learners.graphs import Graph, add_link


def to_onnx(weights: Weights, task: Task, place: slice, columns: int) -> bytes:
    """From `x` float32 [N, columns], of which `place` is the image, to `y` float32 [N, K]."""
    graph = Graph()
    pooled = add_features(graph, weights, place, columns)
    # Without its bias, a product is a form that int8 quantization knows.
    kernel = graph.constant(np.ascontiguousarray(weights.arrays["head.weight"].T))
    product = graph.add("MatMul", pooled, kernel)
    score = graph.add("Add", product, graph.constant(weights.arrays["head.bias"]))
    add_link(graph, task, score)
    return graph.to_bytes(columns, weights.architecture.outputs)


def features_to_onnx(weights: Weights, place: slice, columns: int) -> bytes:
    """From `x` float32 [N, columns] to `y` float32 [N, D]: what the last layer reads."""
    graph = Graph()
    graph.add("Identity", add_features(graph, weights, place, columns), output="y")
    return graph.to_bytes(columns, weights.architecture.features)


def add_features(graph: Graph, weights: Weights, place: slice, columns: int) -> str:
    """Add the convolutions and the mean of each channel, or the dense layer: [N, D]."""
    if weights.architecture.dense:
        return _dense(graph, weights, place, columns)
    x = _image(graph, weights.architecture.shape, place, columns)
    for i in range(len(weights.architecture.stem)):
        x = graph.add("Relu", _convolution(graph, weights, f"stem.{i}", x))
    convolutions = weights.architecture.convolutions()
    for i in range(len(weights.architecture.blocks)):
        name = f"blocks.{i}"
        around = x
        if f"{name}.shortcut" in convolutions:
            around = _convolution(graph, weights, f"{name}.shortcut", x)
        inner = graph.add("Relu", _convolution(graph, weights, f"{name}.first", x))
        outer = _convolution(graph, weights, f"{name}.second", inner)
        x = graph.add("Relu", graph.add("Add", outer, around))
    return graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)


def _dense(graph: Graph, weights: Weights, place: slice, columns: int) -> str:
    """The dense layer: torch reads a channel after the other, the matrix has pixels together."""
    height, width, channels = weights.architecture.shape
    kernel, bias = weights.folded(DENSE)
    kernel = kernel.reshape(-1, channels, height, width).transpose(2, 3, 1, 0)
    constant = graph.constant(np.ascontiguousarray(kernel.reshape(-1, len(bias))))
    product = graph.add("MatMul", _pixels(graph, place, columns), constant)
    return graph.add("Relu", graph.add("Add", product, graph.constant(bias)))


def _pixels(graph: Graph, place: slice, columns: int) -> str:
    """The columns [N, h·w·c] of the matrix that are the image."""
    if (place.start, place.stop) == (0, columns):
        return "x"
    ends = [graph.constant(np.array([at], dtype=np.int64)) for at in (place.start, place.stop)]
    return graph.add("Slice", "x", *ends, graph.constant(np.array([1], dtype=np.int64)))


def _image(graph: Graph, shape: tuple[int, int, int], place: slice, columns: int) -> str:
    """The image [N, c, h, w] of the matrix, whose pixels lie row by row."""
    pixels = _pixels(graph, place, columns)
    height, width, channels = shape
    if channels == 1:
        one = graph.constant(np.array([-1, 1, height, width], dtype=np.int64))
        return graph.add("Reshape", pixels, one)
    rows = graph.constant(np.array([-1, height, width, channels], dtype=np.int64))
    return graph.add("Transpose", graph.add("Reshape", pixels, rows), perm=[0, 3, 1, 2])


def _convolution(graph: Graph, weights: Weights, name: str, x: str) -> str:
    kernel, bias = weights.folded(name)
    _, _, size, stride = weights.architecture.convolutions()[name]
    return graph.add(
        "Conv",
        x,
        graph.constant(kernel),
        graph.constant(bias),
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        strides=[stride, stride],
    )
