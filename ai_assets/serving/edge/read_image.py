"""Reads pictures: a .npy file of numbers [n, h, w], [n, h, w, c] or one picture's [h, w]."""

from typing import Any

import numpy as np


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """Pictures of the size that the model was trained on, as rows of pixels from 0 to 1."""
    height, width, channels = about["columns"][0]["shape"]
    given = np.load(path, allow_pickle=False).astype(np.float64)
    one = given.ndim == 2 or (given.ndim == 3 and given.shape[2] == channels != given.shape[1])
    pictures = given[None] if one else given
    if (*pictures.shape[1:], 1)[:3] != (height, width, channels):
        raise SystemExit(f"Pictures must be {height} x {width} x {channels}, but are {given.shape}")
    white = about["white"]
    if not (np.isfinite(given) & (given >= 0) & (given <= white)).all():
        raise SystemExit(f"Numbers of pictures must be from 0 (black) to {white:g} (white).")
    found = pictures.reshape(len(pictures), -1)
    # A byte a pixel, as pictures were when the model was trained.
    return np.round(found * (255 / white)) / 255
