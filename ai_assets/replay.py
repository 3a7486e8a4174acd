"""`make replay`: a year of flight_delay as production would have seen it, driven by the daemon."""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import dagster as dg

from ai_assets.automation.daemon import code_server, has_looked, running_daemon, wait_for
from ai_assets.automation.replay import Replay
from ai_assets.lifecycle.errors import UserError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.product import read_product
from ai_assets.resources.lake import Lake
from ai_assets.serving.place import state_root

PRODUCT, FIRST, LAST = "flight_delay", "2013-03-01", "2013-12-01"
TICK_SECONDS = "2"
TIMES = "times.json"
ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Replay; exit code 1 where something failed."""
    asked = _parser().parse_args(arguments)
    home = prepare(state_root() / "replay" / (asked.inject or "as_it_was"), asked.fresh)
    environment = {
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "AI_ASSETS_TICK_SECONDS": TICK_SECONDS,
        **({"AI_ASSETS_INJECT": asked.inject, "AI_ASSETS_INJECT_FROM": asked.inject_from}
           if asked.inject else {}),
    }  # fmt: skip
    os.environ.update(environment)
    started = time.monotonic()
    try:
        with dg.DagsterInstance.get() as instance:
            replay = made(instance, asked.last)
            print(f"Replaying {PRODUCT} up to {asked.last}. State: {home}", flush=True)
            if not run(replay, environment, home / "daemon.log", asked.backtest):
                return 1
            say(replay, time.monotonic() - started, home)
    except (UserError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare(home: Path, fresh: bool) -> Path:
    """The replay's own state folder, empty if asked for, with the instance's settings."""
    if fresh and home.exists():
        shutil.rmtree(home)
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "dagster.yaml", home / "dagster" / "dagster.yaml")
    return home


def made(instance: dg.DagsterInstance, last: str) -> Replay:
    """The replay of the flagship product up to a partition."""
    from ai_assets.definitions import defs

    product = read_product(ROOT / "ai_assets" / "products" / PRODUCT)
    assert product.partitions is not None
    keys, key = [], FIRST
    while key < last:
        key = product.partitions.shift(key, 1)
        keys.append(key)
    return Replay(product, defs(), instance, FIRST, keys)


def run(replay: Replay, environment: dict[str, str], log: Path, backtest: bool) -> bool:
    """First release, then partition by partition under the daemon, then the other policies."""
    if not replay.bootstrap():
        return False
    with (
        code_server("ai_assets.definitions", environment, log) as workspace,
        running_daemon(workspace, environment, log) as daemon,
    ):
        wait_for("the daemon", lambda: has_looked(replay.instance), daemon, log, 180)
        for key in replay.partitions:
            replay.month(key, daemon, log)
            replay.tell(key)
    return replay.backtest() if backtest else True


def say(replay: Replay, seconds: float, home: Path) -> None:
    """Print where the page is and where the time went, and keep the latter."""
    lake = Lake()
    runs, starting = replay.starts()
    told = {"seconds": seconds, "runs": runs, "starting": starting, **replay.clock.seconds}
    (home / TIMES).write_text(json.dumps(told), encoding="utf-8")
    asset = AssetName(PRODUCT, "operations")
    if replay.instance.get_latest_materialization_event(dg.AssetKey(asset.key)):
        print(f"\nThe page   {lake.artifact(asset, None) / 'operations.html'}")
    table = ", ".join(f"{name} {spent:.0f} s" for name, spent in replay.clock.seconds.items())
    print(f"Time       {seconds / 60:.1f} min: {table}")
    print(f"           {runs} runs by the daemon; {starting:.0f} s went into starting them")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", default=LAST, help="last partition to replay")
    parser.add_argument("--inject", default="", help="name of an injection to change raw rows by")
    parser.add_argument(
        "--inject-from", default="2013-05-01", help="partition from which rows are changed"
    )
    parser.add_argument("--no-backtest", dest="backtest", action="store_false")
    parser.add_argument("--fresh", action="store_true", help="begin with an empty state")
    return parser


if __name__ == "__main__":
    sys.exit(main())
