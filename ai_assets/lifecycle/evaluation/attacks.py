"""What an adversary can do: the smallest changes that turn answers, looked for on purpose.

Pictures: the sign of the loss's gradient once (FGSM, Goodfellow et al. 2015) and step by step
within the same bound (PGD, Madry et al. 2018). Where no gradient is to be had, as of trees, it is
estimated from answers alone by simultaneous perturbation (SPSA, Uesato et al. 2018). That finds
less than a true gradient would: accuracy that remains is then an upper bound.

Texts: slips of the keyboard, a letter at a time, each time the one of some tries that hurts most.
"""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from ai_assets.lifecycle.corruptions.texts import slipped

Loss = Callable[[np.ndarray], np.ndarray]
"""From rows of pixels [n, F] in 0..1 to the loss [n] of each; an adversary wants it large."""
Gradient = Callable[[np.ndarray], np.ndarray]
"""From rows [n, F] to the gradient of each one's loss [n, F]."""
STEPS = 10
_DIRECTIONS = 16
_PROBE = 0.02
_TRIES = 12
_SLIPS = 3


def fgsm(x: np.ndarray, gradient: Gradient, epsilon: float) -> np.ndarray:
    """Rows [n, F] moved by `epsilon` in each pixel, to where the loss grows."""
    return _within(x + epsilon * np.sign(gradient(x)), x, epsilon)


def pgd(
    x: np.ndarray, gradient: Gradient, loss: Loss, epsilon: float, steps: int = STEPS
) -> np.ndarray:
    """The worst rows [n, F] on a walk within `epsilon` of each pixel; never better than `x`, nor
    than the one long step of `fgsm`."""
    size = 2.5 * epsilon / steps
    worst = _worse((x, loss(x)), fgsm(x, gradient, epsilon), loss)
    at = x
    for _ in range(steps):
        at = _within(at + size * np.sign(gradient(at)), x, epsilon)
        worst = _worse(worst, at, loss)
    return worst[0]


def estimated_gradient(loss: Loss, seed: int, directions: int = _DIRECTIONS) -> Gradient:
    """The gradient by answers alone: differences along random signs, twice `directions` rows."""
    random = np.random.default_rng(seed)

    def gradient(x: np.ndarray) -> np.ndarray:
        found = np.zeros_like(x)
        for _ in range(directions):
            signs = random.choice(np.array([-1, 1], dtype=np.float32), x.shape)
            differs = loss(x + _PROBE * signs) - loss(x - _PROBE * signs)
            found += signs * differs[:, None].astype(np.float32)
        return found

    return gradient


def mistyped(
    texts: Sequence[str],
    loss: Callable[[Sequence[str], np.ndarray], np.ndarray],
    seed: int,
    *,
    slips: int = _SLIPS,
    tries: int = _TRIES,
) -> list[str]:
    """The texts with up to so many slips, each the worst of some tries; one that helps is not made.

    Args:
        texts: n of them.
        loss: of texts [m] that stand for those of these places [m].
        seed: of the slips that are tried.
        slips: how many letters an adversary may touch.
        tries: how many slips are tried for each.
    """
    random = Random(f"mistyped/{seed}")
    now = list(texts)
    found = loss(now, np.arange(len(now)))
    for _ in range(slips):
        tried = [slipped(text, random) for text in now for _ in range(tries)]
        each = loss(tried, np.repeat(np.arange(len(now)), tries)).reshape(len(now), tries)
        for place, losses in enumerate(each):
            worst = int(losses.argmax())
            if losses[worst] > found[place]:
                now[place], found[place] = tried[place * tries + worst], losses[worst]
    return now


def margin_loss(probabilities: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the likeliest wrong class leads the right one, in logarithms [n]; > 0 is wrong."""
    logs = np.log(np.maximum(probabilities, 1e-9))
    rows = np.arange(len(y))
    right = logs[rows, y].copy()
    logs[rows, y] = -np.inf
    lead: np.ndarray = logs.max(axis=1) - right
    return lead


def _worse(
    kept: tuple[np.ndarray, np.ndarray], now: np.ndarray, loss: Loss
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the one of larger loss, and that loss."""
    before, lost = kept[1], loss(now)
    worse = lost > before
    return np.where(worse[:, None], now, kept[0]), np.where(worse, lost, before)


def _within(moved: np.ndarray, x: np.ndarray, epsilon: float) -> np.ndarray:
    near = np.clip(moved, x - epsilon, x + epsilon)
    return np.clip(near, 0, 1).astype(np.float32)
