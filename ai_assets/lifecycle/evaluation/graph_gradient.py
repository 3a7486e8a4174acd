"""The slope of a graph's answers along its inputs: the graph of ONNX itself, computed by torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ai_assets.lifecycle.learners.torch_runs import reproducible

NUMBERS_AT_ONCE = 1 << 19
"""Inputs of so many rows at once: inner maps are much larger than the rows."""
_LINKS = ("Softmax", "Sigmoid")
_FLOAT = 1
Attributes = dict[str, Any]


@dataclass(frozen=True)
class GraphGradient:
    """How far wrong answers lead, row by row, and where to that lead grows.

    Attributes:
        model: the parsed graph, of whose operators each is known here.
        exact: whether it is the true gradient. Where activations are rounded, which has no slope,
            the gradient goes straight through (Bengio et al. 2013), as an adversary does it
            (BPDA, Athalye et al. 2018).
        precision: of what is computed; single is ten times as fast, and enough for signs.
    """

    model: Any
    exact: bool
    precision: Literal["float32", "float64"] = "float32"

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The gradient [n, F] of each row's lead by its own inputs.

        The lead is the highest score of a wrong class less that of the right one (Carlini and
        Wagner 2017): unlike the loss it still has a slope where the model is entirely sure.

        Args:
            x: rows of the matrix [n, F].
            y: numbers [n] of the right classes.
        """
        found = np.empty(x.shape, dtype=self.precision)
        rows = max(1, NUMBERS_AT_ONCE // max(x.shape[1], 1))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            found[part] = self._of(x[part], y[part])
        return found

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Scores [n, K] before the last layer makes probabilities of them."""
        import torch

        with torch.no_grad():
            given = torch.from_numpy(x.astype(self.precision))
            found: np.ndarray = _computed(self.model, given).numpy()
        return found

    def _of(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        import torch

        # One thread: the same sums, and so the same signs, on every machine.
        with reproducible(0, 1):
            given = torch.from_numpy(x.astype(self.precision)).requires_grad_()
            scores = _computed(self.model, given)
            right = torch.from_numpy(y.astype(np.int64))[:, None]
            wrong = scores.scatter(1, right, -torch.inf).amax(1)
            (wrong - scores.gather(1, right)[:, 0]).sum().backward()
            found: np.ndarray = given.grad.numpy()
        return found


def graph_gradient(model: bytes) -> GraphGradient | None:
    """The gradient of a graph that tells classes apart; None where an operator has none, as trees.

    Args:
        model: from `x` float32 [N, F] to `y`: P(positive) [N, 1] or probabilities [N, K].
    """
    import onnx

    parsed = onnx.load_from_string(model)
    kinds = {node.op_type for node in parsed.graph.node}
    if not kinds <= _operators().keys():
        return None
    return GraphGradient(parsed, "QuantizeLinear" not in kinds)


def _computed(model: Any, x: Any) -> Any:
    """Scores [n, K] of rows; of two classes the negative one scores 0."""
    import torch
    from onnx import helper

    values: dict[str, Any] = {"x": x, "": None} | _constants(model, x.dtype)
    operators = _operators(x.dtype)
    last = next(node for node in model.graph.node if "y" in node.output)
    for node in model.graph.node:
        given = [values[name] for name in node.input]
        if node is last and node.op_type in _LINKS:
            values["y"] = given[0]
            break
        about = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        made = operators[node.op_type](about, *given)
        values |= dict(zip(node.output, made if isinstance(made, tuple) else (made,), strict=True))
    found = values["y"]
    if last.op_type not in _LINKS:
        found = found.clamp(torch.finfo(x.dtype).tiny, 1 - torch.finfo(x.dtype).eps)
        found = found.logit() if found.shape[1] == 1 else found.log()
    return torch.cat([torch.zeros_like(found), found], 1) if found.shape[1] == 1 else found


def _constants(model: Any, precision: Any) -> dict[str, Any]:
    """Fractions in this precision; whole numbers as they are."""
    import torch
    from onnx import numpy_helper

    found = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    for sparse in model.graph.sparse_initializer:
        whole = np.zeros(int(np.prod(sparse.dims)), dtype=np.float32)
        whole[numpy_helper.to_array(sparse.indices)] = numpy_helper.to_array(sparse.values)
        found[sparse.values.name] = whole.reshape(tuple(sparse.dims))
    tensors = {name: torch.from_numpy(value.copy()) for name, value in found.items()}
    return {k: v.to(precision) if v.is_floating_point() else v for k, v in tensors.items()}


def _operators(precision: Any = None) -> dict[str, Callable[..., Any]]:
    """What each operator of ONNX does, from its attributes and inputs; fractions are told in this
    precision."""
    import torch

    return {
        "Abs": lambda _, a: a.abs(),
        "Add": lambda _, a, b: a + b,
        "Cast": lambda about, a: a.to(precision) if about["to"] == _FLOAT else a.long(),
        "Clip": lambda _, a, low, high: a.clamp(low, high),
        "Concat": lambda about, *parts: torch.cat(parts, about["axis"]),
        "Conv": _conv,
        "ConvInteger": lambda about, a, w, za, zw=0: _conv(about, a - za, w.to(precision) - zw),
        "DequantizeLinear": _dequantize,
        "Div": lambda _, a, b: a / b,
        "Flatten": lambda about, a: a.flatten(about.get("axis", 1)),
        "Gather": lambda about, a, at: _gather(a, at, about.get("axis", 0)),
        "Gemm": _gemm,
        "GlobalAveragePool": lambda _, a: a.mean((2, 3), keepdim=True),
        "Identity": lambda _, a: a,
        "IsNaN": lambda _, a: a.isnan(),
        "MatMul": lambda _, a, b: a @ b,
        "MatMulInteger": lambda _, a, b, za, zb=0: (a - za) @ (b.to(precision) - zb),
        "Max": lambda _, a, b: torch.maximum(a, b),
        "Mul": lambda _, a, b: a * b,
        "QuantizeLinear": lambda about, a, s, z: _quantize(a, s, z, about.get("axis", 1)),
        "ReduceMax": lambda about, a: a.amax(about["axes"], bool(about.get("keepdims", 1))),
        "Relu": lambda _, a: a.relu(),
        "Reshape": lambda _, a, shape: a.reshape(shape.tolist()),
        "Sigmoid": lambda _, a: a.sigmoid(),
        "Slice": _slice,
        "Softmax": lambda about, a: a.softmax(about.get("axis", -1)),
        "Sub": lambda _, a, b: a - b,
        "Transpose": lambda about, a: a.permute(about["perm"]),
        "Where": lambda _, a, b, c: torch.where(a, b, c),
    }


def _conv(about: Attributes, a: Any, weight: Any, bias: Any = None) -> Any:
    from torch.nn import functional

    top, left, bottom, right = about.get("pads", [0, 0, 0, 0])
    padded = functional.pad(a, (left, right, top, bottom))
    strides, dilations = (tuple(about.get(key, (1, 1))) for key in ("strides", "dilations"))
    groups = about.get("group", 1)
    return functional.conv2d(padded, weight, bias, strides, dilation=dilations, groups=groups)


def _gemm(about: Attributes, a: Any, b: Any, c: Any = 0) -> Any:
    left = a.T if about.get("transA") else a
    right = b.T if about.get("transB") else b
    return about.get("alpha", 1.0) * (left @ right) + about.get("beta", 1.0) * c


def _gather(a: Any, at: Any, axis: int) -> Any:
    found = a.index_select(axis, at.reshape(-1))
    return found.reshape(*a.shape[:axis], *at.shape, *a.shape[axis + 1 :])


def _slice(_: Attributes, a: Any, starts: Any, ends: Any, axes: Any) -> Any:
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        a = a.narrow(axis, start, min(end, a.shape[axis]) - start)
    return a


def _quantize(a: Any, scale: Any, zero: Any, axis: int) -> Any:
    import torch

    whole = torch.iinfo(zero.dtype)
    exact = a / _along(scale, a, axis) + _along(zero, a, axis).to(a.dtype)
    rounded = exact.round().clamp(whole.min, whole.max)
    return exact + (rounded - exact).detach()


def _dequantize(about: Attributes, a: Any, scale: Any, zero: Any = 0) -> Any:
    axis = about.get("axis", 1)
    offset = zero if isinstance(zero, int) else _along(zero, a, axis).to(scale.dtype)
    return (a.to(scale.dtype) - offset) * _along(scale, a, axis)


def _along(value: Any, a: Any, axis: int) -> Any:
    """A number, or one for each place along an axis, in a form that spreads over `a`."""
    shape = [] if value.numel() == 1 else [-1 if at == axis else 1 for at in range(a.ndim)]
    return value.reshape(shape)
