"""What is told of an image in numbers."""

from math import prod
from typing import TYPE_CHECKING

from ai_assets.lifecycle.features.images import WHITE, pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

NUMBERS = {
    "brightness": "mean of its pixels, from 0 (black) to 1",
    "contrast": "standard deviation of its pixels",
    "bright_share": "share of pixels above half of white",
    "sharpness": "how much a pixel differs from the mean of its neighbours, relative to contrast",
    "grain": "how much every other pixel differs from the ones beside it (noise)",
    "slant": "how much more it changes along one diagonal than along the other",
    "upright": "how much more it changes sideways than up and down",
    "across": "where its brightness lies, from 0 (left) to 1",
    "down": "where its brightness lies, from 0 (top) to 1",
    "colour": "mean difference between its channels",
}
_OF_COLOUR = "colour"
WAYS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("fainter", "of more contrast"),
    "bright_share": ("less of it bright", "more of it bright"),
    "sharpness": ("blurred", "sharper"),
    "grain": ("smoother", "noisier"),
    "slant": ("leaning to the other side", "leaning to the other side"),
    "upright": ("turned towards lying", "turned towards upright"),
    "across": ("moved to the left", "moved to the right"),
    "down": ("moved up", "moved down"),
    "colour": ("paler", "more colourful"),
}
"""What is said of images whose number is less, and of those whose number is more."""
_TINY = 1e-9
_PIXELS = 1 << 21
"""That are looked at together: each takes some hundred bytes while it is."""


def told(shape: tuple[int, ...]) -> dict[str, str]:
    """What is told of images of `shape`, with words on it: of grey ones nothing about colour."""
    return {name: words for name, words in NUMBERS.items() if shape[2] > 1 or name != _OF_COLOUR}


def describe(images: "Sequence[bytes | None]", shape: tuple[int, ...]) -> "dict[str, np.ndarray]":
    """Numbers about cleaned images, float64 [n] each by the names of `told`.

    Those of a missing image are NaN.

    Args:
        images: uint8 pixels of `shape`, row by row.
        shape: height, width and channels.
    """
    import numpy as np

    there = np.flatnonzero([image is not None for image in images])
    found = {name: np.full(len(images), np.nan) for name in told(shape)}
    some = max(_PIXELS // max(prod(shape), 1), 1)
    for at in range(0, len(there), some):
        places = there[at : at + some]
        given = [image for place in places if (image := images[place]) is not None]
        numbers = _numbers(pixels(given, shape))
        for name, values in found.items():
            values[places] = numbers[name]
    return found


def _numbers(images: "np.ndarray") -> "dict[str, np.ndarray]":
    import numpy as np

    seen = images.astype(np.float64) / WHITE
    grey = seen.mean(axis=3)
    contrast = grey.std(axis=(1, 2))
    mass = grey.sum(axis=(1, 2)) + _TINY
    height, width = grey.shape[1:]
    down, across = (np.arange(size) / max(size - 1, 1) for size in (height, width))
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    middle = padded[:, 1:-1, 1:-1]
    beside = (padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 2
    above = (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]) / 2
    falling = np.abs(padded[:, 2:, 2:] - padded[:, :-2, :-2]).mean(axis=(1, 2))
    rising = np.abs(padded[:, 2:, :-2] - padded[:, :-2, 2:]).mean(axis=(1, 2))
    sideways = np.abs(padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]).mean(axis=(1, 2))
    upwards = np.abs(padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]).mean(axis=(1, 2))
    return {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": contrast,
        "bright_share": (grey > 0.5).mean(axis=(1, 2)),
        "sharpness": np.abs(middle - (beside + above) / 2).mean(axis=(1, 2)) / (contrast + _TINY),
        "grain": np.abs((middle - beside) * (middle - above)).mean(axis=(1, 2)) ** 0.5,
        "slant": (falling - rising) / (falling + rising + _TINY),
        "upright": (sideways - upwards) / (sideways + upwards + _TINY),
        "across": (grey.sum(axis=1) * across).sum(axis=1) / mass,
        "down": (grey.sum(axis=2) * down).sum(axis=1) / mass,
        "colour": seen.max(axis=3).mean(axis=(1, 2)) - seen.min(axis=3).mean(axis=(1, 2)),
    }
