"""What explanations measure against."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages.bundle import typical_row

ITEMS = {"photo": Column(type="image", size=[4, 4], channels=3), "said": Column(type="text")}


def framed(edge: tuple[int, int, int]) -> bytes:
    """A black picture with an edge of one colour."""
    drawn = np.zeros((4, 4, 3), np.uint8)
    drawn[[0, -1]] = drawn[:, [0, -1]] = edge
    return drawn.tobytes()


def test_the_typical_picture_is_its_ground_and_nothing_is_the_typical_text():
    frame = pl.DataFrame(
        {
            "photo": [framed((255, 200, 10)), framed((250, 210, 10)), framed((9, 205, 10)), None],
            "said": ["a", "a", "b", None],
            "age": [1.0, 3.0, 2.0, None],
            "shop": ["x", "x", "y", None],
        }
    )
    assert typical_row(frame, ITEMS) == {
        "photo": [250.0, 205.0, 10.0],
        "said": None,
        "age": 2.0,
        "shop": "x",
    }


def test_without_pictures_there_is_no_ground():
    frame = pl.DataFrame({"photo": [None]}, schema={"photo": pl.Binary})
    assert typical_row(frame, ITEMS) == {"photo": None}
