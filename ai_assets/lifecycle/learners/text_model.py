"""A fitted model of texts: a sentence encoder and a linear head on what it finds."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.learners.base import Task, read_json, write_json
from ai_assets.lifecycle.learners.text_features import encoder_graph, run_by_length
from ai_assets.lifecycle.learners.transformer import (
    Architecture,
    Transformer,
    read_weights,
    write_weights,
)

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Head:
    """The linear part.

    It reads [n, 2D]: the embedding of a text beside the weighted bag of its words, which says
    what no pooled meaning keeps, above all in a language that the encoder was not trained for.

    Attributes:
        weight: float32 [2D, K].
        bias: float32 [K].
        rarity: How much each token counts in the bag, float32 [V].
    """

    weight: np.ndarray
    bias: np.ndarray
    rarity: np.ndarray


@dataclass(frozen=True)
class TextModel:
    """A text model's numbers; predicting needs onnxruntime alone.

    Attributes:
        task: what is predicted.
        transformer: the encoder, as long as the column of texts.
        head: what is predicted from it.
        features: the columns of the encoding.
        text: name of the text that it reads.
        place: where that lies among the matrix's columns.
        columns: width of the matrix.
    """

    task: Task
    transformer: Transformer
    head: Head
    features: list[str]
    text: str
    place: tuple[int, int]
    columns: int
    iterations: int
    curve: list[dict[str, float]]
    family: str

    def predict(self, x: np.ndarray) -> np.ndarray:
        """float64 [n, K]."""
        return run_by_length(self._session, x, x[:, slice(*self.place)])

    def embed(self, x: np.ndarray) -> np.ndarray:
        """What each text means to the encoder, float32 [n, D], of length 1."""
        found = run_by_length(self._encoder_session, x, x[:, slice(*self.place)])
        return found.astype(np.float32)

    def importances(self) -> dict[str, float]:
        """All that it knows, it knows from the text."""
        return {name: float(name == self.text) for name in self.features}

    def to_onnx(self) -> bytes:
        """Encoder and head as one graph; the very graph that `predict` runs."""
        return text_graph(self)

    def save(self, folder: Path) -> None:
        """Write `model.json` and `weights.safetensors`."""
        about: dict[str, Any] = {"family": self.family, "task": self.task, "text": self.text}
        about |= {"features": self.features, "place": self.place, "columns": self.columns}
        about |= {"architecture": self.transformer.architecture.to_dict()}
        about |= {"iterations": self.iterations, "curve": self.curve}
        write_json(folder / "model.json", about)
        head = {"weight": self.head.weight, "bias": self.head.bias, "rarity": self.head.rarity}
        own = {f"head.{name}": value for name, value in head.items()}
        write_weights(folder / WEIGHTS, self.transformer.weights | own)

    @cached_property
    def _session(self) -> Any:
        from ai_assets.lifecycle.compression.onnx_session import open_session

        return open_session(self.to_onnx())

    @cached_property
    def _encoder_session(self) -> Any:
        from ai_assets.lifecycle.compression.onnx_session import open_session

        return open_session(encoder_graph(self.transformer, self.columns, self.place[0]))


def load_text_model(folder: Path) -> TextModel:
    """Read what `TextModel.save` wrote.

    Raises:
        DataError: the weights are not those of the architecture.
    """
    about = read_json(folder / "model.json")
    architecture = Architecture(**about.pop("architecture"))
    read = read_weights(folder / WEIGHTS)
    own = {name: read.pop(f"head.{name}") for name in ("weight", "bias", "rarity")}
    about["place"] = tuple(about["place"])
    return TextModel(transformer=Transformer(architecture, read), head=Head(**own), **about)


def text_graph(model: TextModel, precision: Any = None) -> bytes:
    """Encoder and head as an ONNX graph from `x` float32 [N, F] to `y` float32 [N, K].

    Args:
        model: the model.
        precision: how the encoder's matrices are stored and multiplied; default: in float32.
    """
    from ai_assets.lifecycle.learners.graphs import Graph, add_link
    from ai_assets.lifecycle.learners.transformer_graph import (
        add_bag,
        add_pooled,
        add_texts,
        add_transformer,
    )

    graph, head = Graph(), model.head
    start, end = model.place
    texts = add_texts(graph, start, model.transformer.weights["words"], end - start, precision)
    pooled = add_pooled(graph, add_transformer(graph, model.transformer, texts, precision), texts)
    both = graph.add("Concat", pooled, add_bag(graph, texts, head.rarity), axis=1)
    product = graph.add("MatMul", both, graph.constant(head.weight))
    add_link(graph, model.task, graph.add("Add", product, graph.constant(head.bias)))
    return graph.to_bytes(model.columns, len(head.bias))
