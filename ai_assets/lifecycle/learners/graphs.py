"""ONNX graphs built node by node: small, the same bytes each time, and free of any exporter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Task
from ai_assets.lifecycle.learners.preparation import Preparation
from ai_assets.lifecycle.schema.pieces import INNER

OPSET = 17
IR_VERSION = 8
"""An old enough format that serving machines with older runtimes read it too."""
PRODUCER = "ai_assets"


@dataclass
class Graph:
    """Nodes and constants of a graph in the making; names are given in order.

    `inner` is how many numbers it holds for a row at a time, where that follows from more than the
    matrix's columns; whoever scores gives it fewer rows at once.
    """

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inner: int = 0

    def constant(self, value: np.ndarray | np.generic) -> str:
        """Add a constant; its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(
        self,
        kind: str,
        *inputs: str,
        output: str | None = None,
        domain: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node with one output; the output's name.

        `domain` is that of an operator which is not one of ONNX's own.
        """
        from onnx import helper

        name = output or f"n{len(self.nodes)}"
        title = f"{kind}_{len(self.nodes)}"
        node = helper.make_node(kind, list(inputs), [name], name=title, domain=domain)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in sorted(attributes.items()))
        self.nodes.append(node)
        return name

    def to_bytes(
        self, features: int, outputs: int, opsets: Mapping[str, int] | None = None
    ) -> bytes:
        """The model from `x` float32 [N, features] to `y` float32 [N, outputs].

        `opsets` names what it needs beside ONNX's own operators: a version for each domain.
        """
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "model",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", features])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
            initializer=self.constants,
        )
        wanted = {**(opsets or {}), "": OPSET}
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(d, v) for d, v in sorted(wanted.items())],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
        )
        if self.inner:
            helper.set_model_props(model, {INNER: str(self.inner)})
        onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


def add_dense(graph: Graph, preparation: Preparation) -> str | None:
    """Add the scaled numbers and missing indicators [N, P + M]; None without numeric columns."""
    if not len(preparation.numeric):
        return None
    numbers = graph.add("Gather", "x", graph.constant(preparation.numeric), axis=1)
    missing = graph.add("IsNaN", numbers)
    filled = graph.add("Where", missing, graph.constant(preparation.median), numbers)
    centred = graph.add("Sub", filled, graph.constant(preparation.mean))
    scaled = graph.add("Mul", centred, graph.constant(preparation.inverse_scale))
    limit = preparation.limit
    clipped = graph.add("Clip", scaled, graph.constant(-limit), graph.constant(limit))
    if not len(preparation.holes):
        return clipped
    flags = graph.add("Gather", missing, graph.constant(preparation.holes), axis=1)
    return graph.add("Concat", clipped, graph.add("Cast", flags, to=1), axis=1)


def add_slots(graph: Graph, preparation: Preparation) -> str | None:
    """Add the category slots int64 [N, C]; None without categorical columns."""
    if not len(preparation.categorical):
        return None
    codes = graph.add("Gather", "x", graph.constant(preparation.categorical), axis=1)
    low = graph.add("GreaterOrEqual", codes, graph.constant(np.float32(0)))
    high = graph.add("Less", codes, graph.constant(preparation.sizes))
    known = graph.add("And", low, high)
    code = graph.add("Where", known, codes, graph.constant(np.float32(-1)))
    whole = graph.add("Cast", code, to=7)
    position = graph.add("Add", whole, graph.constant(preparation.starts + 1))
    return graph.add("Gather", graph.constant(preparation.slots), position, axis=0)


def add_link(graph: Graph, task: Task, score: str) -> None:
    """Add the output `y`: the logistic function, softmax, exp, or the score itself."""
    if task == "binary":
        graph.add("Sigmoid", score, output="y")
    elif task == "multiclass":
        graph.add("Softmax", score, output="y", axis=1)
    elif task == "count":
        graph.add("Exp", score, output="y")
    else:
        graph.add("Identity", score, output="y")
