"""What Dagster shows as stale after a partition was made anew with other content."""

from pathlib import Path

import dagster as dg
import polars as pl
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from small_product import MARCH, World, finding

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
SCORED = ("labels", "features", "predictions", "drift", "performance")


def stale(world: World, *assets: str) -> set[str]:
    """Those of the assets that are stale in March."""
    graph = dg.Definitions(assets=world.assets, resources=vars(world.tools)).resolve_asset_graph()
    loaded = LoadingContextForTest(world.instance)
    resolver = CachingStaleStatusResolver(world.instance, graph, loaded)
    found = {asset: resolver.get_status(world.key(asset), MARCH) for asset in assets}
    return {asset for asset, status in found.items() if status == StaleStatus.STALE}


def test_a_verdict_is_stale_once_the_rows_that_it_judged_are_others(copied: World) -> None:
    """Rows that came twice leave no trace in what was cleaned, nor in anything made of it."""
    file = Path(copied.product.folder, "orders", f"{MARCH[:7]}.csv")
    right = pl.read_csv(file, infer_schema=False)
    pl.concat([right, right.head(100)]).write_csv(file)
    broken = copied.run(*DATA, *SCORED, "verdict", partition=MARCH, raises=False)
    assert finding(broken, "data_is_sound")[0] is False
    right.write_csv(file)
    copied.run(*DATA, partition=MARCH)

    assert stale(copied, *SCORED, "verdict") == {"verdict"}
    assert finding(copied.run("verdict", partition=MARCH), "data_is_sound")[0] is True
    assert stale(copied, "verdict") == set()
