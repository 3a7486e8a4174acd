"""How much texts surprise the language model of a bundle: a number to watch beside the others."""

from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.text_features import run_by_length
from ai_assets.stages.language_model import FILE


def with_surprise(folder: Path, encoding: Encoding, features: pl.DataFrame) -> pl.DataFrame:
    """The features with `<text>_perplexity`, where the folder has a language model.

    Args:
        folder: the bundle's payload, or the artifact of `language_model`.
        encoding: how texts become tokens.
        features: rows [n] with the text as it is cleaned.
    """
    if not (folder / FILE).is_file():
        return features
    return features.with_columns(surprise((folder / FILE).read_bytes(), encoding, features))


def surprise(graph: bytes, encoding: Encoding, features: pl.DataFrame) -> pl.Series:
    """The perplexity of each text, float64 [n]; null of one without a token to tell."""
    from ai_assets.lifecycle.compression.onnx_session import open_session

    column, _ = encoding.first("text")
    x = column.encode(features[column.name])
    found = run_by_length(open_session(graph), x, x)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.exp(found[:, 0] / found[:, 1])
    return pl.Series(f"{column.name}_perplexity", each).fill_nan(None)
