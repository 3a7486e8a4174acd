"""language_model: what comes after what in a product's texts; how much new ones surprise it."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.language import LanguageModel, Perplexity, perplexity
from ai_assets.lifecycle.learners.language_training import train_language
from ai_assets.lifecycle.learners.unigram import unigram_perplexity
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.learning import KNOWS_THE_LANGUAGE
from ai_assets.stages.training_data import (
    TrainingData,
    load_training_data,
    run_tags,
    save_folder,
)
from ai_assets.stages.training_set import SPLITS

FILE = "language.onnx"
_MOST_SURPRISING = 10


def learn_language(run: StageRun) -> Outcome:
    """Train on train texts, stop by validation texts, and tell all of them."""
    data = load_training_data(run)
    tokens = {split: tokens_of(data, split) for split in SPLITS}
    training = run.product.declaration.training
    name = f"language_model/{run.partition or 'all'}"
    tags = run_tags(run, "language_model", data)
    with run.tools.tracker.run(run.name("model").experiment, name, tags) as tracked:
        model = train_language(
            tokens["train"],
            tokens["validation"],
            vocabulary_of(data.encoding),
            seed=training.seed,
            threads=training.threads,
            device=training.device,
        )
        found = {split: perplexity(model, tokens[split]) for split in SPLITS}
        tracked.log_curve(model.curve)
        tracked.log_metrics({f"perplexity_{split}": told.overall for split, told in found.items()})
    version = save_folder(run, "language_model", partial(_write, model))
    guessed = unigram_perplexity(model, tokens["train"], tokens["test"])
    return Outcome(
        version,
        {
            **shown.numbers({s: p.overall for s, p in found.items()}, prefix="perplexity/"),
            "perplexity_of_guessing": guessed,
            "iterations": model.iterations,
            "curve": shown.markdown(
                plots.as_markdown_image(
                    plots.learning_curve({"language model": model.curve}), "learning curve"
                )
            ),
            "most_surprising": shown.table(
                most_surprising(data, found["test"], run.product.request_table.columns)
            ),
            "mlflow_run": tracked.run_id,
        },
        {KNOWS_THE_LANGUAGE.name: better_than_guessing(found["test"].overall, guessed)},
    )


def tokens_of(data: TrainingData, split: str) -> np.ndarray:
    """The tokens of a split's texts, int64 [n, T]."""
    _, place = data.encoding.first("text")
    return data.split(split).x[:, place].astype(np.int64)


def vocabulary_of(encoding: Encoding) -> int:
    """How many tokens the text's tokenizer knows."""
    column, _ = encoding.first("text")
    return len(json.loads(column.tokenizer)["model"]["vocab"])


def most_surprising(
    data: TrainingData, told: Perplexity, columns: Mapping[str, Column]
) -> pl.DataFrame:
    """The test texts that the model expected least: `text`, `perplexity`.

    Of personal data the perplexity alone is told.
    """
    name = data.encoding.first("text")[0].name
    each = pl.Series(told.texts).fill_nan(None)
    rows = pl.DataFrame({"text": data.frame("test")[name], "perplexity": each})
    if name in columns and columns[name].personal:
        rows = rows.drop("text")
    return rows.sort("perplexity", descending=True, nulls_last=True).head(_MOST_SURPRISING)


def better_than_guessing(perplexity: float, guessed: float) -> Finding:
    """Whether the order of tokens taught the model anything."""
    words = f"Perplexity on test texts is {perplexity:.1f}; of frequencies alone {guessed:.1f}."
    return Finding(perplexity < guessed, words, warn=True)


def _write(model: LanguageModel, folder: Path) -> None:
    model.save(folder)
    (folder / FILE).write_bytes(model.to_onnx())
