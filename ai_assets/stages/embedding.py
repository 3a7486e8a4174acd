"""What the model makes of images and texts: sketched into the bundle, and compared with it."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.drift.changes import changes
from ai_assets.lifecycle.drift.embedding import EmbeddingSketch, embedding_drift, sketch_of
from ai_assets.lifecycle.drift.numbers import EMBEDDING, SCHEMA, embedding_numbers
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.items import described, items_of, ways
from ai_assets.lifecycle.learners.penultimate import embedder
from ai_assets.lifecycle.schema.tables import Column

FILE = "embedding.json"


def embedding_file(model: bytes, encoding: Encoding, features: pl.DataFrame, seed: int) -> str:
    """The sketch of what the served graph makes of the features, as JSON.

    Empty where there is none: no feature is an image or a text, they are too few, or the graph has
    no last layer, as trees have none.
    """
    embed = embedder(model) if encoding.items else None
    sketch = sketch_of(embed(encoding.transform(features)), seed=seed) if embed else None
    return sketch.to_json() if sketch else ""


def embedding_line(
    payload: Path,
    encoding: Encoding,
    features: pl.DataFrame,
    columns: Mapping[str, Column],
    spec: Drift,
) -> pl.DataFrame:
    """The row of the drift numbers that tells of embeddings; none where the bundle has no sketch.

    Args:
        payload: the bundle's files.
        encoding: the bundle's.
        features: what it scored, images and texts as they are cleaned.
        columns: the declared columns, by name.
        spec: the limits.
    """
    file = payload / FILE
    embed = embedder((payload / "model.onnx").read_bytes()) if file.is_file() else None
    if embed is None or not features.height:
        return pl.DataFrame(schema=SCHEMA)
    sketch = EmbeddingSketch.from_json(file.read_text(encoding="utf-8"))
    found = embedding_drift(sketch, embed(encoding.transform(features)))
    reference = Profile.from_json((payload / "reference.json").read_text(encoding="utf-8"))
    changed = changes(reference, described(features, columns), ways(columns))
    return embedding_numbers(found, changed, spec)


def importances_of(
    importances: Mapping[str, float], columns: Mapping[str, Column], numbers: pl.DataFrame
) -> dict[str, float]:
    """How much of the model what is watched in place of images and texts carries.

    All that an item matters is its embedding's, where that is watched; else each number about it
    has an equal part.

    Args:
        importances: of the features, or of each pixel and token.
        columns: the declared columns, by name.
        numbers: the partition's drift numbers.
    """
    watched, found = numbers["column"].to_list(), dict(importances)
    for name in items_of(columns):
        own = [n for n in found if n == name or n.startswith(f"{name}[")]
        share = sum(found.pop(n) for n in own)
        told = [EMBEDDING] if EMBEDDING in watched else [n for n in watched if n in ways(columns)]
        told = [n for n in told if n == EMBEDDING or n.startswith(f"{name}_")]
        for each in told:
            found[each] = found.get(each, 0.0) + share / len(told)
    return found
