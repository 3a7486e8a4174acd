"""Images as they might also have been: moved, turned, scaled, lit otherwise, partly covered.

Never mirrored: a mirrored letter or digit is another one, or none.
"""

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Augmentation:
    """How far each image may be changed; 0 leaves it as it is.

    Attributes:
        shift: largest move, as a share of the side.
        rotation: largest turn, in degrees.
        scale: largest change of size: 0.1 is from 0.9 to 1.1 times.
        brightness: largest amount added to every pixel, of the range 0 to 1.
        contrast: largest change of the distance from the image's mean: 0.2 is 0.8 to 1.2 times.
        erase: share of the images of which a rectangle is covered.
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Augmentation":
        """From a family's parameters, which have the same names."""
        return cls(**{each.name: float(settings.get(each.name, 0.0)) for each in fields(cls)})


def augment(images: Any, how: Augmentation, random: Any) -> Any:
    """Changed copies of images float32 [n, c, h, w], 0 to 1; `random` is a torch generator.

    The draws are made on the CPU: equal seeds then change images alike on every device.
    """
    found = images
    if how.shift or how.rotation or how.scale:
        found = _moved(found, how, random)
    if how.brightness or how.contrast:
        found = _lit(found, how, random)
    return _covered(found, how.erase, random) if how.erase else found


def _uniform(images: Any, random: Any, columns: int = 1) -> Any:
    """Numbers from -1 to 1, [n, columns]."""
    import torch

    return torch.rand((len(images), columns), generator=random).mul_(2).sub_(1).to(images.device)


def _moved(images: Any, how: Augmentation, random: Any) -> Any:
    import torch
    from torch.nn import functional

    height, width = images.shape[2:]
    drawn = _uniform(images, random, 4)
    angle = drawn[:, 0] * math.radians(how.rotation)
    size = 1.0 + drawn[:, 1] * how.scale
    # The grid says where each pixel comes from: a larger image is read from a smaller area. Its
    # coordinates are shares of the sides, which a turn of an image that is no square must undo.
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    across, along = height / width, width / height
    rows = [cos, -sin * across, drawn[:, 2] * 2 * how.shift, sin * along, cos]
    theta = torch.stack([*rows, drawn[:, 3] * 2 * how.shift], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _lit(images: Any, how: Augmentation, random: Any) -> Any:
    drawn = _uniform(images, random, 2)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    factor = (1 + drawn[:, 0] * how.contrast).view(-1, 1, 1, 1)
    added = (drawn[:, 1] * how.brightness).view(-1, 1, 1, 1)
    return ((images - mean) * factor + mean + added).clamp(0, 1)


def _covered(images: Any, share: float, random: Any) -> Any:
    """Black rectangles of a fifth to two fifths of each side, on a share of the images."""
    import torch

    drawn = (_uniform(images, random, 5) + 1) / 2
    rows = _span(images.shape[2], drawn[:, 1], drawn[:, 2])[:, None, :, None]
    columns = _span(images.shape[3], drawn[:, 3], drawn[:, 4])[:, None, None, :]
    chosen = (drawn[:, 0] < share).view(-1, 1, 1, 1)
    return torch.where(rows & columns & chosen, torch.zeros_like(images), images)


def _span(side: int, size: Any, start: Any) -> Any:
    """Which of a side's pixels lie within the rectangle, bool [n, side]."""
    import torch

    length = (0.2 + 0.2 * size) * side
    first = (start * (side - length))[:, None]
    place = torch.arange(side, device=size.device, dtype=torch.float32)[None, :] + 0.5
    return (place >= first) & (place < first + length[:, None])
