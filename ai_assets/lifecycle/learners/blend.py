"""Several families answering together: a weighted mean of their scores, before the link."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Model, Task, link, read_json, write_json
from ai_assets.lifecycle.learners.graphs import Graph, add_link
from ai_assets.lifecycle.schema.pieces import INNER

FAMILY = "blend"
TINY = 1e-7
"""How near to 0 and 1 a probability may come: float32 knows little between this and certainty."""


@dataclass(frozen=True)
class BlendModel:
    """Members with weights that sum to 1; of probabilities the logits (logarithms) are averaged.

    Opinions pooled that way stay as sharp as those who hold them (Satopää et al. 2014, "Combining
    multiple probability predictions using a simple logit model").
    """

    task: Task
    members: list[Model]
    weights: list[float]
    family: str = FAMILY

    @property
    def curve(self) -> list[dict[str, float]]:
        """None of its own: its members have theirs."""
        return []

    @property
    def iterations(self) -> int:
        """Rounds that all members took together."""
        return sum(member.iterations for member in self.members)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        return pool(self.task, [member.predict(x) for member in self.members], self.weights)

    def importances(self) -> dict[str, float]:
        """The members' importances, weighted like their answers."""
        each = [member.importances() for member in self.members]
        return {
            name: sum(w * shares[name] for w, shares in zip(self.weights, each, strict=True))
            for name in each[0]
        }

    def to_onnx(self) -> bytes:
        """The members' graphs side by side, reading the same `x`."""
        return _blended([member.to_onnx() for member in self.members], self.weights, self.task)

    def save(self, folder: Path) -> None:
        """Write `blend.json`, and each member in a folder with its family's name."""
        parts = [[m.family, w] for m, w in zip(self.members, self.weights, strict=True)]
        write_json(folder / "blend.json", {"task": self.task, "members": parts})
        for member in self.members:
            member.save(folder / member.family)


def load_blend(folder: Path) -> BlendModel:
    """Read what `BlendModel.save` wrote."""
    from ai_assets.lifecycle.learners import get_family

    told = read_json(folder / "blend.json")
    members = [get_family(name).load(folder / name) for name, _ in told["members"]]
    return BlendModel(told["task"], members, [weight for _, weight in told["members"]])


def pool(task: Task, predicted: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """The weighted mean of predictions [n, K], of probabilities taken before the link."""
    scores = [weight * _score(task, p) for weight, p in zip(weights, predicted, strict=True)]
    return link(task, np.sum(scores, axis=0))


def _score(task: Task, predicted: np.ndarray) -> np.ndarray:
    if task == "regression":
        return predicted
    if task == "count":
        return np.log(np.maximum(predicted, TINY))
    p = np.clip(predicted, TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p) if task == "binary" else np.log(p)


def _blended(members: list[bytes], weights: list[float], task: Task) -> bytes:
    import onnx

    graphs = [onnx.load_from_string(member) for member in members]
    blend = Graph()
    parts = []
    for number, (model, weight) in enumerate(zip(graphs, weights, strict=True)):
        told = [int(each.value) for each in model.metadata_props if each.key == INNER]
        blend.inner = max(blend.inner, *told, 0)
        answer = _adopt(blend, model.graph, f"m{number}_")
        score = _add_score(blend, answer, task)
        parts.append(blend.add("Mul", score, blend.constant(np.float32(weight))))
    total = blend.add("Sum", *parts) if len(parts) > 1 else parts[0]
    add_link(blend, task, total)
    opsets = {o.domain: o.version for model in graphs for o in model.opset_import}
    columns, outputs = _width(graphs[0].graph.input[0]), _width(graphs[0].graph.output[0])
    return blend.to_bytes(columns, outputs, opsets)


def _width(value: Any) -> int:
    return int(value.type.tensor_type.shape.dim[1].dim_value)


def _adopt(blend: Graph, graph: Any, prefix: str) -> str:
    """Take a member's nodes and constants over under names of their own; its output's name."""
    from onnx import compose

    renamed = compose.add_prefix_graph(graph, prefix, rename_inputs=False)
    blend.nodes.extend(renamed.node)
    blend.constants.extend(renamed.initializer)
    return str(renamed.output[0].name)


def _add_score(blend: Graph, answer: str, task: Task) -> str:
    if task == "regression":
        return answer
    if task == "count":
        return blend.add("Log", blend.add("Max", answer, blend.constant(np.float32(TINY))))
    low, high = blend.constant(np.float32(TINY)), blend.constant(np.float32(1 - TINY))
    p = blend.add("Clip", answer, low, high)
    if task == "multiclass":
        return blend.add("Log", p)
    other = blend.add("Sub", blend.constant(np.float32(1)), p)
    return blend.add("Sub", blend.add("Log", p), blend.add("Log", other))
