"""Images in one form: a byte a pixel, of the declared size, the same in training and serving."""

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from ai_assets.lifecycle.schema.tables import Column

WHITE = 255
# A file that unpacks to more than this is no photograph but an attack or a mistake.
MOST_PIXELS = 50_000_000
_GAP = 3.0
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
READABLE = "a picture: PNG, JPEG, or rows of numbers"


def canonical(value: Any, column: "Column") -> bytes:
    """An image as the column declares it: uint8 [height, width, channels], row by row.

    Args:
        value: a picture file's bytes, its Base64 text, or numbers [height, width] or
            [height, width, channels] from 0 (black) to the column's `max` (white).
        column: a column of type image.

    Raises:
        DataError: it cannot be read as a picture.
    """
    if isinstance(value, str):
        value = _from_base64(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _from_file(bytes(value), column)
    return _from_numbers(value, column)


def pixels(images: list[bytes], shape: tuple[int, ...]) -> "np.ndarray":
    """Canonical images as uint8 [n, height, width, channels]."""
    import numpy as np

    return np.frombuffer(b"".join(images), dtype=np.uint8).reshape(len(images), *shape)


def png(image: bytes, shape: tuple[int, ...]) -> bytes:
    """A canonical image as a PNG file."""
    from PIL import Image

    found = pixels([image], shape)[0]
    out = io.BytesIO()
    Image.fromarray(found[:, :, 0] if shape[2] == 1 else found).save(out, "PNG")
    return out.getvalue()


def _from_base64(text: str) -> bytes:
    # A data URI, as browsers make them, says its type before the comma.
    _, _, content = text.rpartition(",") if text.startswith("data:") else ("", "", text)
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError("it is no Base64 text of a picture file") from error


def _from_file(content: bytes, column: "Column") -> bytes:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(f"it has more than {MOST_PIXELS:,} pixels")
            # Cameras store how they were held; people see the picture upright.
            ImageOps.exif_transpose(opened, in_place=True)
            return _fitted(_on_black(_eight_bits(opened)), column)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("it is no picture file that is known") from error
    except Exception as error:  # decoders stumble over damage in ways of their own
        raise DataError(f"the picture file is damaged: {error}") from error


def _eight_bits(image: Any) -> Any:
    """Pictures of more bits, as scanners make them: Pillow itself would cut the upper bits off."""
    if not image.mode.startswith("I;16") and image.mode not in ("I", "F"):
        return image
    import numpy as np
    from PIL import Image

    found = np.array(image, dtype=np.float32)
    if not np.isfinite(found).all():
        raise DataError("its numbers are not all finite")
    if (unseen := image.info.get("transparency")) is not None:
        found[found == unseen] = 0
    found *= np.float32(WHITE / _white(image.mode, float(found.max())))
    return Image.fromarray(np.round(found, out=found).clip(0, WHITE, out=found).astype(np.uint8))


def _white(mode: str, brightest: float) -> int:
    """What stands for white in a picture of 16 bits, of whole numbers, or of fractions."""
    if mode.startswith("I;16"):
        return 65_535
    if mode == "F" and brightest <= 1:
        return 1
    return WHITE if brightest <= WHITE else 65_535


def _on_black(image: Any) -> Any:
    """The picture without transparency."""
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image
    from PIL import Image

    seen = image.convert("RGBA")
    shown = Image.new("RGB", seen.size)
    shown.paste(seen, mask=seen.getchannel("A"))
    return shown


def _from_numbers(value: Any, column: "Column") -> bytes:
    import numpy as np
    from PIL import Image

    white = column.max or WHITE
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError("its rows are not all of the same length, or not all of numbers") from error
    if found.ndim == 3 and found.shape[2] == 1:
        found = found[:, :, 0]
    if found.size == 0 or not (found.ndim == 2 or (found.ndim == 3 and found.shape[2] == 3)):
        shape = list(found.shape)
        raise DataError(f"its numbers are {shape}, not [height, width] or [height, width, 3]")
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > white:
        raise DataError(f"its numbers must be from 0 (black) to {white:g} (white)")
    grey = np.round(found * (WHITE / white)).astype(np.uint8)
    return _fitted(Image.fromarray(grey), column)


def _fitted(image: Any, column: "Column") -> bytes:
    from PIL import Image

    assert column.size is not None
    height, width = column.size
    shown = image.convert("RGB" if column.channels == 3 else "L")
    if shown.size != (width, height):
        # Of much larger ones boxes are averaged first: at this gap the eye sees no difference.
        shown = shown.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=_GAP)
    return bytes(shown.tobytes())
