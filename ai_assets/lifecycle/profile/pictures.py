"""How pictures of a folder are: their size, and whether they have colours."""

import statistics
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.images import FORMATS
from ai_assets.lifecycle.profile.sample import Sample

_LOOKED_AT = 200
_LONGEST = 64
_STEP = 4
_COLOURED = 8


def declared_picture(sample: Sample) -> tuple[dict[str, Any], str]:
    """The fields of a column of pictures, and what they are made of.

    At most 200 pictures from everywhere in the folder are opened.

    Raises:
        DataError: none of them can be read.
    """
    assert sample.path is not None
    paths = sample.frame[sample.path].drop_nulls().to_list()
    some = paths[:: -(-len(paths) // _LOOKED_AT)]
    seen = [_seen(Path(sample.source["folder"], path)) for path in some]
    good = [one for one in seen if one is not None]
    if not good:
        raise DataError(
            f"'{sample.source['folder']}' must hold pictures that can be read, but none of the "
            f"{len(some)} that were opened can: {some[0]} for one."
        )
    heights, widths = [one[0] for one in good], [one[1] for one in good]
    height, width = round(statistics.median(heights)), round(statistics.median(widths))
    size = _fitting(height, width)
    declared: dict[str, Any] = {"type": "image", "size": list(size)}
    if any(one[2] for one in good):
        declared["channels"] = 3
    declared["nullable"] = False
    alike = "all" if len(set(zip(heights, widths, strict=True))) == 1 else "in the middle"
    reason = f"[height, width] that models see; the pictures are {alike} {height} x {width}"
    if broken := len(seen) - len(good):
        reason += f"; {broken} of {len(seen)} that were opened cannot be read"
    return declared, reason


def _fitting(height: int, width: int) -> tuple[int, int]:
    """The size itself if it is small; else of the same shape, 64 pixels on the longer side."""
    if max(height, width) <= _LONGEST:
        return height, width
    scale = _LONGEST / max(height, width)
    return tuple(max(_STEP, round(side * scale / _STEP) * _STEP) for side in (height, width))  # type: ignore[return-value]


def _seen(file: Path) -> tuple[int, int, bool] | None:
    """Height, width, and whether the picture has colours; None of one that cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=FORMATS) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            small = opened.convert("RGB").resize((16, 16))
            red, green, blue = (list(band.tobytes()) for band in small.split())
            far = max(max(abs(r - g), abs(g - b)) for r, g, b in zip(red, green, blue, strict=True))
            return opened.height, opened.width, far > _COLOURED
    except Exception:  # decoders stumble over damage in ways of their own
        return None
