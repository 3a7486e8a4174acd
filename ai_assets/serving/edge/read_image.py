"""Reads pictures: a .npy file of numbers [n, h, w], [n, h, w, c] or one picture's [h, w]."""

from typing import Any

import numpy as np


def read(path: str, about: dict[str, Any]) -> np.ndarray:
    """Pictures of the size that the model was trained on, as rows of pixels from 0 to 1."""
    height, width, channels = about["columns"][0]["shape"]
    given = np.load(path, allow_pickle=False).astype(np.float64)
    one = given.ndim == 2 or (given.ndim == 3 and given.shape[2] == channels != given.shape[1])
    pictures = given[None] if one else given
    found = pictures.reshape(len(pictures), -1)
    if found.shape[1] != height * width * channels:
        raise SystemExit(f"Pictures must be {height} x {width} x {channels}, but are {given.shape}")
    # A byte a pixel, as pictures were when the model was trained.
    return np.round(found * (255 / about["white"])) / 255
