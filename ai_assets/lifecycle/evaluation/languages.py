"""How a model of texts answers in each language, beside what its encoder was trained for."""

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.text_numbers import language

LEAST = 10
"""Texts of a language to be judged by itself; the guess of a short text's language may be wrong."""
OTHERS = "others"
MATTERS = 0.05
"""Share of the texts from which on a language that the encoder does not know is worth a warning."""
_Z = 1.959964


def by_language(texts: Sequence[str], right: np.ndarray, known: Collection[str]) -> pl.DataFrame:
    """Accuracy in each language, the commonest first.

    Args:
        texts: n of them.
        right: whether each was answered right, bool [n].
        known: languages that the encoder was trained for (ISO 639-1).

    Returns:
        `language`, `texts`, `share` of all, `accuracy` with its 95 % interval `low` and `high`
        (Wilson 1927), and `known`: whether the encoder was trained for it. Languages of fewer than
        10 texts are one row, `others`, which the encoder is not said to know.
    """
    frame = pl.DataFrame({"language": [language(text) for text in texts], "right": right})
    common = frame["language"].value_counts().filter(pl.col("count") >= LEAST)["language"]
    named = pl.when(pl.col("language").is_in(common.implode())).then("language")
    found = (
        frame.group_by(named.otherwise(pl.lit(OTHERS)).alias("language"))
        .agg(texts=pl.len(), accuracy=pl.mean("right"))
        .sort("texts", "language", descending=[True, False])
    )
    n, p = pl.col("texts"), pl.col("accuracy")
    middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * (p * (1 - p) / n + _Z**2 / (4 * n**2)).sqrt()
    return found.select(
        "language",
        "texts",
        share=n / len(texts),
        accuracy=p,
        low=middle - half,
        high=middle + half,
        known=pl.col("language").is_in(list(known)),
    )


def languages_ok(found: pl.DataFrame, known: Collection[str]) -> tuple[bool, str]:
    """Whether nearly all texts are in languages that the encoder was trained for, and in words."""
    strange = found.filter(~pl.col("known"))
    share = float(strange["share"].sum())
    trained = f"The encoder was trained for {', '.join(known)}"
    if share < MATTERS:
        return True, f"{trained}; {1 - share:.1%} of the texts are in it."
    told = [
        f"{row['language']} {row['share']:.1%}, accuracy {row['accuracy']:.3f} "
        f"({row['low']:.3f} to {row['high']:.3f})"
        for row in strange.to_dicts()
    ]
    familiar = found.filter("known")
    beside = "no text is in a language that it knows"
    if familiar.height:
        mean = float(np.average(familiar["accuracy"], weights=familiar["texts"]))
        beside = f"in what it knows {mean:.3f}"
    return False, f"{trained}, but of the texts are in others: {'; '.join(told)}; {beside}."
