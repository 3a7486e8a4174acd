"""How much texts surprise one who knows only how often each token comes: what to be better than."""

import numpy as np

from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.language import UNKNOWN, LanguageModel


def unigram_perplexity(model: LanguageModel, train: np.ndarray, others: np.ndarray) -> float:
    """The perplexity of texts under the frequencies of tokens in others, over the same vocabulary.

    Counts are raised by one (Laplace); a token that the model has not learned costs what it costs
    the model: the unknown, and then one of all that are. The first token is given.

    Args:
        model: whose vocabulary counts.
        train: tokens of the texts to count in, int64 [n, T], 0 after the end.
        others: tokens of the texts to tell, likewise.
    """
    counted = model.numbers[train[:, 1:]]
    size = int(model.numbers.max()) + 1
    counts = np.bincount(counted[train[:, 1:] != PADDING], minlength=size) + 1.0
    counts[PADDING] = 0.0
    with np.errstate(divide="ignore"):
        nats = -np.log(counts / counts.sum())
    nats[UNKNOWN] += np.log(model.unknown)
    told = others[:, 1:]
    return float(np.exp(nats[model.numbers[told[told != PADDING]]].mean()))
