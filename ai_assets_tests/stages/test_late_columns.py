"""A scaffolded column that is known only after its row's moment stays in the table, unlearned."""

from pathlib import Path

import numpy as np
import polars as pl
from small_product import World, findings

from ai_assets.scaffold import main

ASSETS = ("raw/orders", "cleaned/orders", "rejected/orders", "labels", "features")
FIRST, LAST = "2024-01-01", "2024-02-01"


def test_moments_that_come_after_the_row_are_kept_and_reach_no_feature(tmp_path: Path) -> None:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 8, 27), "1d", eager=True)
    orders = pl.DataFrame({"ordered_at": [day for day in days for _ in range(9)]})
    luck, place = np.random.default_rng(2), pl.int_range(pl.len())
    orders = orders.with_columns(
        delivered=pl.col("ordered_at").cast(pl.Datetime("us")) + pl.duration(hours=place % 90 + 25),
        paid_on=pl.when(place % 7 > 0).then(pl.col("ordered_at") + pl.duration(days=place % 5)),
        size=place % 17,
        late=pl.Series(luck.random(orders.height) < 0.3),
    )
    orders.write_csv(tmp_path / "orders.csv")
    asked = ["--data", str(tmp_path / "orders.csv"), "--target", "late"]
    assert main(["shop", *asked, "--products", str(tmp_path)]) == 0
    world = World.of(tmp_path / "shop", tmp_path / "home")

    run = world.run(*ASSETS, partition=FIRST, last=LAST)

    late = world.product.request_table.late_columns
    assert late == {"delivered": "delivered", "paid_on": "paid_on", "late": "NULL"}
    assert world.rows("features").columns[1:] == ["ordered_at_isodow", "size"]
    assert world.rows("cleaned/orders").height == world.rows("features").height == 9 * 60
    assert world.rows("rejected/orders").height == 0
    assert all(one[1] for one in findings(run, "no_late_column_of_the_request"))
    assert all(one[1] for one in findings(run, "nothing_known_too_early"))
