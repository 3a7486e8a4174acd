"""Small texts of known topics, and encoders small enough to train in a second."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.learners.base import Dataset
from ai_assets.lifecycle.learners.transformer import Architecture

VOCABULARY, TOKENS = 60, 12
BEGIN, END = 1, 2
TINY = Architecture(VOCABULARY, 16, width=16, layers=2, heads=4, inner=32)


def topics(rows: int = 240, classes: int = 3, seed: int = 0, number: bool = False) -> Dataset:
    """Texts of common words (30 to 59) and three that tell the topic (3 and on, four each).

    With `number` a number stands before the text among the features.
    """
    random = np.random.default_rng(seed)
    y = random.integers(0, classes, rows)
    x = np.zeros((rows, TOKENS), dtype=np.float32)
    for row, topic in enumerate(y):
        length = int(random.integers(3, 8))
        words = random.integers(30, VOCABULARY, length)
        words[random.permutation(length)[:3]] = 3 + 4 * topic + random.integers(4, size=3)
        x[row, : length + 2] = [BEGIN, *words, END]
    columns = [EncodedColumn("question", "text", shape=(TOKENS,))]
    if number:
        columns = [EncodedColumn("n", "numeric"), *columns]
        x = np.concatenate([np.full((rows, 1), 7, dtype=np.float32), x], axis=1)
    return Dataset(x, y.astype(np.float64), None, Encoding(tuple(columns)))


def write_bert(folder: Path, architecture: Architecture = TINY, seed: int = 0) -> Path:
    """A folder as sentence encoders come in, with random weights under BERT's names."""
    a, random = architecture, np.random.default_rng(seed)

    def drawn(*shape: int) -> np.ndarray:
        return (0.3 * random.standard_normal(shape)).astype(np.float32)

    sizes = {
        "attention.self.query": (a.width, a.width),
        "attention.self.key": (a.width, a.width),
        "attention.self.value": (a.width, a.width),
        "attention.output.dense": (a.width, a.width),
        "intermediate.dense": (a.inner, a.width),
        "output.dense": (a.width, a.inner),
    }
    weights = {
        "embeddings.word_embeddings.weight": drawn(a.vocabulary, a.width),
        "embeddings.position_embeddings.weight": drawn(a.positions, a.width),
        "embeddings.token_type_embeddings.weight": drawn(2, a.width),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(a.layers):
        for name, size in sizes.items():
            weights[f"encoder.layer.{i}.{name}.weight"] = drawn(*size)
            weights[f"encoder.layer.{i}.{name}.bias"] = drawn(size[0])
        norms += [f"encoder.layer.{i}.{n}.LayerNorm" for n in ("attention.output", "output")]
    for name in norms:
        weights |= {f"{name}.weight": 1 + drawn(a.width), f"{name}.bias": drawn(a.width)}
    config = {
        "model_type": "bert",
        "vocab_size": a.vocabulary,
        "max_position_embeddings": a.positions,
        "hidden_size": a.width,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "intermediate_size": a.inner,
        "layer_norm_eps": a.epsilon,
        "hidden_act": "gelu",
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
