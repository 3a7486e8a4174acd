"""The transformer as a torch module: for training, and for answers beside the graph's."""

from typing import Any

import numpy as np

from ai_assets.lifecycle.features.tokens import PADDING
from ai_assets.lifecycle.learners.text_features import by_length, longest
from ai_assets.lifecycle.learners.transformer import Transformer


def build_module(transformer: Transformer, dropout: float = 0.0) -> Any:
    """A module with the transformer's weights, from tokens int64 [n, t] to hidden [n, t, D].

    Its parameters have the names of the transformer's weights.
    """
    import torch
    from torch import nn

    shape = transformer.architecture

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            d = shape.width
            self.attention = nn.Linear(d, 3 * d)
            self.mixed = nn.Linear(d, d)
            self.mixed_norm = nn.LayerNorm(d, eps=shape.epsilon)
            self.inner = nn.Linear(d, shape.inner)
            self.outer = nn.Linear(shape.inner, d)
            self.outer_norm = nn.LayerNorm(d, eps=shape.epsilon)
            self.dropout = nn.Dropout(dropout)

        def forward(self, hidden: Any, seen: Any) -> Any:
            n, t, d = hidden.shape
            split = self.attention(hidden).view(n, t, 3, shape.heads, d // shape.heads)
            query, key, value = split.permute(2, 0, 3, 1, 4)
            found = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=seen, dropout_p=dropout if self.training else 0.0
            )
            mixed = self.mixed(found.transpose(1, 2).reshape(n, t, d))
            hidden = self.mixed_norm(hidden + self.dropout(mixed))
            outer = self.outer(nn.functional.gelu(self.inner(hidden)))
            return self.outer_norm(hidden + self.dropout(outer))

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Parameter(torch.empty(shape.vocabulary, shape.width))
            self.positions = nn.Parameter(torch.empty(shape.positions, shape.width))
            self.norm = nn.LayerNorm(shape.width, eps=shape.epsilon)
            self.layers = nn.ModuleList(Layer() for _ in range(shape.layers))
            self.dropout = nn.Dropout(dropout)

        def seen(self, tokens: Any) -> Any:
            """What attention may see, bool [n, 1, 1 or t, t]."""
            seen = (tokens != PADDING)[:, None, None, :]
            # A text without a token sees its padding: the softmax of nothing is not a number.
            seen = seen | ~seen.any(-1, keepdim=True)
            if not shape.causal:
                return seen
            t = tokens.shape[1]
            return seen & torch.ones(t, t, dtype=torch.bool, device=tokens.device).tril()

        def begin(self, tokens: Any) -> Any:
            """What the first layer reads, [n, t, D]."""
            words = nn.functional.embedding(tokens, self.words)
            return self.dropout(self.norm(words + self.positions[: tokens.shape[1]]))

        def forward(self, tokens: Any) -> Any:
            hidden, seen = self.begin(tokens), self.seen(tokens)
            for layer in self.layers:
                hidden = layer(hidden, seen)
            return hidden

    module = Module()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in transformer.weights.items()})
    return module


def weights_of(module: Any) -> dict[str, np.ndarray]:
    """The module's weights as arrays of their own."""
    return {k: v.detach().cpu().numpy().copy() for k, v in module.state_dict().items()}


def pooled(hidden: Any, tokens: Any) -> Any:
    """The mean of each text's tokens [n, D], of length 1, as the sentence encoder was trained."""
    from torch.nn import functional

    there = (tokens != PADDING).unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * there).sum(1) / there.sum(1).clamp(min=1.0)
    return functional.normalize(mean, dim=1)


def embed(module: Any, tokens: np.ndarray) -> np.ndarray:
    """Embeddings float32 [n, D] of texts int64 [n, T], by a module that is not being trained."""
    import torch

    module.eval()
    device = module.words.device
    found = np.empty((len(tokens), module.words.shape[1]), dtype=np.float32)
    with torch.inference_mode():
        for rows in by_length(tokens):
            part = tokens[rows]
            batch = torch.from_numpy(part[:, : longest(part)].copy()).to(device)
            found[rows] = pooled(module(batch), batch).cpu().numpy()
    return found
