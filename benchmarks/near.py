"""How long it takes to find near-duplicates among 100,000 items, and whether it finds them.

Pictures of 32 x 32 pixels are made of two digits of digit_reading each, moved and mixed, with
noise; texts of words of question_topic's questions. Every hundredth is a copy of an earlier one: a
picture with a shade of noise, a text in upper case with a letter changed. The items are cleaned
with and without the search, by the function that the asset `cleaned` calls; the difference is what
the search costs. A few pictures are drawn twice by chance and are rejected beside the copies. Texts
of one template are the worst case: each resembles all others, and is none of them.
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
from figures import Figure, report

import ai_assets.products
from ai_assets.lifecycle.cleaning import Cleaned, clean
from ai_assets.lifecycle.schema.near import Near, NearDuplicates
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table

ITEMS, EVERY, SIDE = 100_000, 100, 32
GOAL_SECONDS, GOAL_FOUND = 60.0, 0.99
PRODUCTS = Path(next(iter(ai_assets.products.__path__)))
COLUMNS = {
    "image": Column(type="image", size=(SIDE, SIDE)),
    "text": Column(type="text"),
}


def source_of(product: str) -> ModuleType:
    """The product's own source."""
    spec = importlib.util.spec_from_file_location("source", PRODUCTS / product / "source.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(rng: np.random.Generator) -> list[bytes]:
    """Different pictures, and a copy of an earlier one at every hundredth place, as PNG files."""
    from ai_assets.lifecycle.features.images import png

    digits = np.array(source_of("digit_reading").digits(None, None)["image"].to_list(), np.float32)
    large = np.kron(digits, np.ones((1, SIDE // 8, SIDE // 8), np.float32)) * (255 / 16)
    found = np.empty((ITEMS, SIDE, SIDE), np.uint8)
    for row in range(ITEMS):
        if row % EVERY == EVERY - 1:
            made = found[rng.integers(row)] + rng.normal(0, 1, (SIDE, SIDE))
        else:
            one, other = large[rng.integers(len(large), size=2)]
            made = np.roll(0.6 * one + 0.4 * other, rng.integers(-6, 7, 2), (0, 1))
            made = made + rng.normal(0, 3, (SIDE, SIDE))
        found[row] = made.clip(0, 255)
    return [png(image.tobytes(), (SIDE, SIDE, 1)) for image in found]


def texts(rng: np.random.Generator, *, template: bool = False) -> list[str]:
    """Different texts, and a copy of an earlier one at every hundredth place.

    With a template 3 of the 50 words of one text are others in each.
    """
    asked = source_of("question_topic").questions(None, None)["question"]
    words = sorted({word for question in asked for word in question.split() if word.isalpha()})
    base, found = list(rng.choice(words, 50)), list[str]()
    for row in range(ITEMS):
        if row % EVERY == EVERY - 1:
            copied = found[rng.integers(row)].upper()
            found.append(copied.replace("A", "O", 1))
        elif template:
            made = list(base)
            for place in rng.choice(50, 3, replace=False):
                made[place] = rng.choice(words)
            found.append(" ".join(made))
        else:
            found.append(" ".join(rng.choice(words, rng.integers(20, 60))))
    return found


def timed(work: Callable[[], Cleaned]) -> tuple[Cleaned, float]:
    """What the work gives, and how long it took, in seconds."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def measured(name: str, kind: str, values: pl.Series) -> list[Figure]:
    """What the search costs, which copies it finds, and what it rejects beside them."""
    columns = {"number": Column(type="int64"), "item": COLUMNS[kind]}
    table = Table(source=Source(csv="made.csv"), key=["number"], columns=columns)
    raw = pl.LazyFrame({"number": np.arange(len(values)), "item": values})
    near = Near("item", (), NearDuplicates())
    _, without = timed(lambda: clean(raw, table))
    cleaned, seconds = timed(lambda: clean(raw, table, near))
    rejected = cleaned.rejected.select(pl.col("number").cast(pl.Int64)).collect().to_series()
    copies = rejected.filter(rejected % EVERY == EVERY - 1).len() / (len(values) // EVERY)
    others = len(rejected) - rejected.filter(rejected % EVERY == EVERY - 1).len()
    took = seconds - without
    told = [
        Figure(
            f"{name}: seconds for {len(values):,}",
            f"{took:.1f} s",
            f"{without:.1f} s of cleaning",
            None,
            f"< {GOAL_SECONDS:.0f} s",
            took < GOAL_SECONDS,
        ),
        Figure(
            f"{name}: copies found",
            f"{copies:.4f}",
            f"{others:,} others",
            None,
            f">= {GOAL_FOUND}",
            copies >= GOAL_FOUND,
        ),
    ]
    # Of one template some that nobody copied are within a tenth of each other, too.
    return told[:1] if name == "one template" else told


def main() -> int:
    rng = np.random.default_rng(0)
    return report(
        [
            *measured("pictures", "image", pl.Series(pictures(rng), dtype=pl.Binary)),
            *measured("texts", "text", pl.Series(texts(rng))),
            *measured("one template", "text", pl.Series(texts(rng, template=True))),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
