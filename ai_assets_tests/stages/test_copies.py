"""Rows that no key tells apart: a row and its copies are learned from or judged by together."""

from pathlib import Path

import numpy as np
import polars as pl
from small_product import World, finding

from ai_assets.scaffold import main

CONTENTS, COPIES = 500, 3
ASSETS = ("raw/cases", "cleaned/cases", "rejected/cases", "labels", "features", "training_set")


def test_a_row_and_its_copies_share_a_part_whatever_became_of_them(tmp_path: Path) -> None:
    luck = np.random.default_rng(11)
    size, colour = luck.integers(0, 40, CONTENTS), luck.choice(["red", "blue", "green"], CONTENTS)
    cases = pl.DataFrame({"size": size, "weight": luck.normal(0, 1, CONTENTS), "colour": colour})
    rows = pl.concat([cases] * COPIES)
    rows = rows.with_columns(broke=pl.Series(luck.random(rows.height) < 0.4))
    file = tmp_path / "cases.csv"
    rows.write_csv(file)
    asked = ["--data", str(file), "--target", "broke", "--products", str(tmp_path)]
    assert main(["parts", *asked]) == 0
    world = World.of(tmp_path / "parts", tmp_path / "home")

    run = world.run(*ASSETS)

    learned = world.rows("training_set")
    parts = learned.group_by("size", "weight", "colour").agg(
        pl.len(), pl.col("split").n_unique().alias("parts"), pl.col("label").n_unique()
    )
    assert (parts.height, set(parts["len"]), set(parts["parts"])) == (CONTENTS, {COPIES}, {1})
    assert parts["label"].max() == 2  # copies of one case that ended differently
    assert finding(run, "each_row_in_one_split") == (
        True,
        f"{CONTENTS * COPIES:,} rows, each in one split, by hash of their {CONTENTS} groups.",
    )
