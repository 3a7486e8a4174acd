"""What happens to pictures: out of focus, negatives, grain, held askew, badly cut, too bright."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from ai_assets.lifecycle.features.images import WHITE, pixels

if TYPE_CHECKING:
    import numpy as np

# Strengths by severity. Those of noise and brightness are those of ImageNet-C (Hendrycks and
# Dietterich 2019); the others are relative to size, since theirs are of pictures of 224 pixels.
_BLUR = (0.10, 0.18, 0.26, 0.34, 0.45)
"""Standard deviation in pixels, for each square root of the shorter side: detail grows slower
than size."""
_INVERTED_FROM = (0.9, 0.7, 0.5, 0.25, 0.0)
_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
_DEGREES = (8.0, 16.0, 25.0, 35.0, 50.0)
_SHIFT = (0.06, 0.12, 0.18, 0.25, 0.35)
"""Share of the side."""
_BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)


def changed(
    items: Sequence[bytes], shape: tuple[int, ...], name: str, severity: int, seed: int
) -> list[bytes]:
    """Corrupted pictures; `corrupt` says of which arguments."""
    import numpy as np

    seen = pixels(list(items), shape).astype(np.float64) / WHITE
    random = np.random.default_rng([seed, crc32(name.encode())])
    found = CORRUPTIONS[name](seen, severity - 1, random)
    return [image.tobytes() for image in np.round(found.clip(0, 1) * WHITE).astype(np.uint8)]


def blur(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """Out of focus: each pixel is a mean of those around it."""
    from scipy.ndimage import gaussian_filter

    radius = _BLUR[level] * min(seen.shape[1:3]) ** 0.5
    blurred: np.ndarray = gaussian_filter(seen, (0, radius, radius, 0), mode="nearest")
    return blurred


def inversion(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """The negative: first of the brightest pixels, at last of all."""
    import numpy as np

    return np.where(seen >= _INVERTED_FROM[level], 1 - seen, seen)


def noise(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """Grain: each pixel is a little off, as in the dark."""
    return seen + _NOISE[level] * random.standard_normal(seen.shape)


def rotation(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """Held askew, to the left or to the right."""
    from scipy.ndimage import rotate

    found = seen.copy()
    left = random.random(len(seen)) < 0.5
    for side, degrees in ((left, _DEGREES[level]), (~left, -_DEGREES[level])):
        if side.any():
            found[side] = rotate(
                seen[side], degrees, axes=(2, 1), reshape=False, order=1, mode="nearest"
            )
    return found


def shift(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """Badly cut: what should be in the middle lies at a side or in a corner."""
    import numpy as np

    height, width = seen.shape[1:3]
    turn = random.uniform(0, 2 * np.pi, len(seen))
    moves = [
        _away(np.sin(turn), _SHIFT[level] * height),
        _away(np.cos(turn), _SHIFT[level] * width),
    ]
    rows, columns = (
        (np.arange(size) - move[:, None]).clip(0, size - 1)
        for size, move in zip((height, width), moves, strict=True)
    )
    each = np.arange(len(seen))[:, None, None]
    moved: np.ndarray = seen[each, rows[:, :, None], columns[:, None, :]]
    return moved


def brightness(seen: "np.ndarray", level: int, random: "np.random.Generator") -> "np.ndarray":
    """Too bright: light is added everywhere."""
    return seen + _BRIGHTER[level]


def _away(direction: "np.ndarray", most: float) -> "np.ndarray":
    """Whole pixels [n] to move by; at least one to the side that the direction points to most."""
    import numpy as np

    moved = np.round(direction * most)
    least = np.where(np.abs(direction) >= 0.5**0.5, np.sign(direction), 0)
    return np.where(moved == 0, least, moved).astype(np.int64)


CORRUPTIONS: dict[str, "Callable[[np.ndarray, int, np.random.Generator], np.ndarray]"] = {
    change.__name__: change for change in (blur, inversion, noise, rotation, shift, brightness)
}
"""Each takes pixels [n, height, width, channels] from 0 to 1, a level from 0 to 4, and chance."""
