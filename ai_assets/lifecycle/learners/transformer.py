"""A transformer's size and weights, as arrays: what its torch module and its graph are made of."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.features.tokens import encoder_folder

Weights = dict[str, np.ndarray]
"""float32 by name; matrices of layers are [out, in]."""


@dataclass(frozen=True)
class Architecture:
    """A post-norm transformer (Vaswani et al. 2017, Devlin et al. 2018).

    Attributes:
        vocabulary: Numbers of tokens that there are; 0 is padding.
        positions: Longest text, in tokens.
        width: Numbers that stand for a token.
        layers: How many.
        heads: Of attention, in each layer.
        inner: Width within the feed-forward part of a layer.
        epsilon: Added to a variance before numbers are divided by its root.
        causal: Whether a token sees those before it only.
    """

    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    inner: int
    epsilon: float = 1e-12
    causal: bool = False

    def __post_init__(self) -> None:
        for name in ("vocabulary", "positions", "width", "layers", "heads", "inner"):
            if getattr(self, name) < 1:
                raise DeclarationError(must_be(name, "at least 1", getattr(self, name)))
        if self.width % self.heads:
            raise DeclarationError(must_be("width", f"a multiple of {self.heads}", self.width))

    @property
    def numbers_of_a_text(self) -> int:
        """Numbers in memory for a text while it is read: wide parts of a layer, and attention."""
        return self.positions * (3 * self.inner + 2 * self.heads * self.positions)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them."""
        return asdict(self)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight. Query, key and value lie in one matrix, in this order."""
        d, inner = self.width, self.inner
        found: dict[str, tuple[int, ...]] = {
            "words": (self.vocabulary, d),
            "positions": (self.positions, d),
            "norm.weight": (d,),
            "norm.bias": (d,),
        }
        for i in range(self.layers):
            found |= {
                f"layers.{i}.attention.weight": (3 * d, d),
                f"layers.{i}.attention.bias": (3 * d,),
                f"layers.{i}.mixed.weight": (d, d),
                f"layers.{i}.mixed.bias": (d,),
                f"layers.{i}.mixed_norm.weight": (d,),
                f"layers.{i}.mixed_norm.bias": (d,),
                f"layers.{i}.inner.weight": (inner, d),
                f"layers.{i}.inner.bias": (inner,),
                f"layers.{i}.outer.weight": (d, inner),
                f"layers.{i}.outer.bias": (d,),
                f"layers.{i}.outer_norm.weight": (d,),
                f"layers.{i}.outer_norm.bias": (d,),
            }
        return found


@dataclass(frozen=True)
class Transformer:
    """An architecture with its weights.

    Raises:
        DataError: a weight is missing, or is not of the shape that the architecture asks for.
    """

    architecture: Architecture
    weights: Weights

    def __post_init__(self) -> None:
        for name, shape in self.architecture.shapes().items():
            if name not in self.weights:
                raise DataError(f"weight '{name}' is missing.")
            given = self.weights[name].shape
            if given != shape:
                raise DataError(must_be(f"weight '{name}'", f"of shape {shape}", f"{given}"))

    @cached_property
    def digest(self) -> bytes:
        """Of the architecture and every weight."""
        found = hashlib.sha256(repr(self.architecture).encode())
        for name in sorted(self.weights):
            found.update(np.ascontiguousarray(self.weights[name]).data)
        return found.digest()

    def short(self, positions: int) -> "Transformer":
        """The same for texts of at most so many tokens.

        Raises:
            DeclarationError: it was not made for so many.
        """
        most = self.architecture.positions
        if positions > most:
            raise DeclarationError(must_be("tokens", f"at most {most}, the encoder's", positions))
        cut = self.weights | {"positions": self.weights["positions"][:positions].copy()}
        return Transformer(replace(self.architecture, positions=positions), cut)

    def with_layers(self, kept: tuple[int, ...]) -> "Transformer":
        """The same with these of its layers, in this order.

        Raises:
            DeclarationError: one of them does not exist.
        """
        there = range(self.architecture.layers)
        for layer in kept:
            if layer not in there:
                raise DeclarationError(must_be("layer", tuple(map(str, there)), layer))
        weights = {k: v for k, v in self.weights.items() if not k.startswith("layers.")}
        for place, layer in enumerate(kept):
            old, new = f"layers.{layer}.", f"layers.{place}."
            found = {k: v for k, v in self.weights.items() if k.startswith(old)}
            weights |= {new + name.removeprefix(old): value for name, value in found.items()}
        return Transformer(replace(self.architecture, layers=len(kept)), weights)


def random_transformer(architecture: Architecture, seed: int) -> Transformer:
    """Weights as before training: normal with standard deviation 0.02, norms 1, biases 0."""
    random = np.random.default_rng(seed)

    def start(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return (0.02 * random.standard_normal(shape)).astype(np.float32)
        return np.full(shape, float("norm.weight" in name), dtype=np.float32)

    shapes = architecture.shapes()
    return Transformer(architecture, {name: start(name, s) for name, s in shapes.items()})


def read_bert(folder: Path | None = None) -> Transformer:
    """The BERT encoder in a folder with `config.json` and `model.safetensors`.

    What sentence embeddings do not use is left out: the pooler and the second kind of segment.

    Args:
        folder: default: the installed sentence encoder.

    Raises:
        DeclarationError: a file is missing, or the model is of another architecture.
        DataError: a weight is missing or of another shape.
    """
    place = folder or encoder_folder()
    for name in ("config.json", "model.safetensors"):
        if not (place / name).is_file():
            raise DeclarationError(f"an encoder's folder must hold {name}, but {place} does not.")
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    for name, only in (
        ("model_type", "bert"),
        ("hidden_act", "gelu"),
        ("position_embedding_type", "absolute"),
    ):
        if config.get(name, only) != only:
            raise DeclarationError(must_be(f"{name} of the encoder", f"'{only}'", config[name]))
    architecture = Architecture(
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        inner=config["intermediate_size"],
        epsilon=config["layer_norm_eps"],
    )
    read = read_weights(place / "model.safetensors")
    prefix = "bert." if any(name.startswith("bert.") for name in read) else ""
    return Transformer(architecture, _from_bert(read, prefix, architecture.layers))


def read_weights(path: Path) -> Weights:
    """Arrays of a safetensors file, as float32.

    Raises:
        DataError: the file is not one.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: Mapping[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as safetensors: {error}.") from error
    return {
        name: np.ascontiguousarray(value, dtype=np.float32)
        for name, value in found.items()
        if np.issubdtype(value.dtype, np.floating)
    }


def write_weights(path: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors; the bytes depend on the arrays alone."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}, path)


def _from_bert(read: Weights, prefix: str, layers: int) -> Weights:
    def take(name: str) -> np.ndarray:
        if prefix + name not in read:
            raise DataError(f"weight '{prefix + name}' of the encoder is missing.")
        return read[prefix + name]

    # All texts are of the first kind of segment, so its embedding is a part of each position's.
    segment = take("embeddings.token_type_embeddings.weight")[:1]
    made = {
        "words": take("embeddings.word_embeddings.weight"),
        "positions": take("embeddings.position_embeddings.weight") + segment,
        "norm.weight": take("embeddings.LayerNorm.weight"),
        "norm.bias": take("embeddings.LayerNorm.bias"),
    }
    names = {
        "mixed": "attention.output.dense",
        "mixed_norm": "attention.output.LayerNorm",
        "inner": "intermediate.dense",
        "outer": "output.dense",
        "outer_norm": "output.LayerNorm",
    }
    for i in range(layers):
        for kind in ("weight", "bias"):
            at = f"encoder.layer.{i}."
            parts = [take(f"{at}attention.self.{p}.{kind}") for p in ("query", "key", "value")]
            made[f"layers.{i}.attention.{kind}"] = np.concatenate(parts)
            for ours, theirs in names.items():
                made[f"layers.{i}.{ours}.{kind}"] = take(f"{at}{theirs}.{kind}")
    return made
