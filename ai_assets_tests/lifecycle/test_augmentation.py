"""Each change of an image does what its name says, as far as declared, and no image is mirrored."""

import numpy as np
import pytest
import torch

from ai_assets.lifecycle.learners.augmentation import Augmentation, augment


def changed(images: np.ndarray, seed: int = 0, **how: float) -> np.ndarray:
    random = torch.Generator().manual_seed(seed)
    return augment(torch.from_numpy(images), Augmentation(**how), random).numpy()


def corner(rows: int = 200, height: int = 16, width: int = 16) -> np.ndarray:
    """A bright spot up and to the left of the middle."""
    images = np.zeros((rows, 1, height, width), dtype=np.float32)
    images[:, :, height // 4 : height // 4 + 2, width // 4 : width // 4 + 2] = 1
    return images


def centres(images: np.ndarray) -> np.ndarray:
    """Where the light lies, [n, 2] in pixels from the middle: down, right."""
    sides = [np.arange(side) - (side - 1) / 2 for side in images.shape[2:]]
    light = images.sum(axis=(1, 2, 3))
    down = (images.sum(axis=(1, 3)) * sides[0]).sum(axis=1) / light
    right = (images.sum(axis=(1, 2)) * sides[1]).sum(axis=1) / light
    return np.stack([down, right], axis=1)


def test_without_changes_images_stay_as_they_are():
    assert changed(corner()) is not None
    assert np.array_equal(changed(corner()), corner())


def test_a_shift_moves_within_its_limit():
    moved = centres(changed(corner(), shift=0.125)) - centres(corner())
    assert np.abs(moved).max() == pytest.approx(2.0, abs=0.1)
    assert moved.min() < -1.5 and moved.max() > 1.5


@pytest.mark.parametrize("shape", [(16, 16), (12, 24)])
def test_a_turn_keeps_the_distance_from_the_middle_and_its_limit(shape):
    before, after = centres(corner(200, *shape)), centres(changed(corner(200, *shape), rotation=20))
    lengths = [np.hypot(*points.T) for points in (before, after)]
    assert np.abs(lengths[1] - lengths[0]).max() < 0.25
    angles = [np.degrees(np.arctan2(*points.T)) for points in (before, after)]
    turned = angles[1] - angles[0]
    assert 15 < np.abs(turned).max() < 21
    assert turned.min() < -10 and turned.max() > 10


def test_a_change_of_size_moves_the_spot_along_its_ray():
    factor = np.hypot(*centres(changed(corner(), scale=0.2)).T) / np.hypot(*centres(corner()).T)
    assert 0.75 < factor.min() < 0.87 and 1.13 < factor.max() < 1.25


def test_nothing_is_mirrored():
    after = centres(changed(corner(), shift=0.1, rotation=15, scale=0.1))
    assert (after < 0).all()


def test_light_changes_within_its_limits():
    grey = np.full((200, 3, 8, 8), 0.5, dtype=np.float32)
    grey[:, :, :4] = 0.3
    brighter = changed(grey, brightness=0.1).mean(axis=(1, 2, 3)) - 0.4
    assert 0.08 < np.abs(brighter).max() <= 0.1 + 1e-6
    harder = changed(grey, contrast=0.5)
    assert np.abs(harder.mean(axis=(1, 2, 3)) - 0.4).max() < 1e-6
    spread = (harder.max(axis=(1, 2, 3)) - harder.min(axis=(1, 2, 3))) / 0.2
    assert 0.5 <= spread.min() < 0.6 and 1.4 < spread.max() <= 1.5 + 1e-5
    assert changed(np.ones((50, 1, 8, 8), "f4"), brightness=0.5).max() <= 1


def test_a_share_of_the_images_loses_one_rectangle():
    white = np.ones((400, 3, 20, 30), dtype=np.float32)
    black = changed(white, erase=0.5) == 0
    hit = black.any(axis=(1, 2, 3))
    assert 0.4 < hit.mean() < 0.6
    for image in black[hit]:
        assert (image == image[0]).all()
        rows, columns = image[0].any(axis=1), image[0].any(axis=0)
        assert image[0].sum() == rows.sum() * columns.sum()
        assert 4 <= rows.sum() <= 8 and 6 <= columns.sum() <= 12


def test_equal_seeds_change_alike():
    how = {"shift": 0.1, "rotation": 10, "scale": 0.1, "brightness": 0.1, "erase": 0.3}
    assert np.array_equal(changed(corner(), 3, **how), changed(corner(), 3, **how))
    assert not np.array_equal(changed(corner(), 3, **how), changed(corner(), 4, **how))
