"""Take the pictures of the documentation from the running web UI.

After `make run`, start `make dev`, then: `.venv/bin/python docs/take_pictures.py graph evaluation`
(`--address http://127.0.0.1:3000` unless given). `operations` and `verdict` are of a replay: after
`make replay`, with AI_ASSETS_HOME at the replay's state. `profile` and `versions` are of the
product of docs/tutorial.md, the latter after its June was learned from too. Look at each picture
before you commit it.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import Lake

TUTORIAL = "churn"
PICTURES = Path(__file__).parent / "pictures"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
PATIENCE = 90_000  # milliseconds: the first page loads the whole code location
MARGIN = 28
BOX_OF_ALL_NODES = """() => {
    const nodes = [...document.querySelectorAll('foreignObject')]
    const boxes = nodes.map(e => e.getBoundingClientRect())
    return [Math.min(...boxes.map(b => b.left)), Math.min(...boxes.map(b => b.top)),
            Math.max(...boxes.map(b => b.right)), Math.max(...boxes.map(b => b.bottom))]
}"""
# The buttons of the lower right corner lie over the graph.
HIDE_BUTTONS = """() => document.querySelectorAll('button, div').forEach(e => {
    const box = e.getBoundingClientRect()
    if (box.left > innerWidth - 80 && box.top > innerHeight / 2) e.style.visibility = 'hidden'
})"""
# Scaled down to the width of a page, the UI's pale lines would vanish.
DARKER_LINES = ":root, body, body * { --color-lineage-edge: #8a90a6 !important; }"


def take_graph(page: Any, address: str, to: Path) -> None:
    """The whole graph of flight_delay from left to right, cropped to its assets."""
    page.set_viewport_size({"width": 3000, "height": 2600})
    page.goto(f"{address}/locations/ai_assets/asset-groups/flight_delay/lineage")
    page.get_by_text("drift_report", exact=True).first.wait_for(timeout=PATIENCE)
    page.add_style_tag(content=DARKER_LINES)
    page.wait_for_timeout(4_000)  # the graph fits itself to the window after it is drawn
    page.evaluate(HIDE_BUTTONS)
    left, top, right, bottom = page.evaluate(BOX_OF_ALL_NODES)
    clip = {
        "x": left - MARGIN,
        "y": top - MARGIN,
        "width": min(right + MARGIN, 3000) - left + MARGIN,
        "height": bottom - top + 2 * MARGIN,
    }
    page.screenshot(path=to, clip=clip)


def take_evaluation(page: Any, address: str, to: Path) -> None:
    """The page of an evaluation: its check, its metrics, the names of its plots."""
    open_asset(page, address, "evaluation?view=overview", "roc_auc")
    page.screenshot(path=to)


def take_operations(page: Any, address: str, to: Path) -> None:
    """How the page begins that the asset `operations` wrote: how each policy did, and estimates."""
    written = Lake().artifact(AssetName("flight_delay", "operations")) / "operations.html"
    page.set_viewport_size({"width": 1100, "height": 820})
    page.goto(written.as_uri())
    page.screenshot(path=to)


def take_verdict(page: Any, address: str, to: Path) -> None:
    """A check that found the newest month to be unlike what the release learned, in words."""
    open_asset(page, address, "verdict?view=checks", "Latest execution")
    page.set_viewport_size({"width": 1300, "height": 640})
    page.wait_for_timeout(1_000)
    page.screenshot(path=to)


def take_profile(page: Any, address: str, to: Path) -> None:
    """The page of a table's columns, which the asset of its cleaned rows wrote."""
    lake, table = Lake(), AssetName(TUTORIAL, "cleaned/customers")
    page.set_viewport_size({"width": 1100, "height": 800})
    page.goto((lake.artifact(table, lake.artifacts(table)[-1]) / "columns.html").as_uri())
    page.screenshot(path=to, full_page=True)


def take_versions(page: Any, address: str, to: Path) -> None:
    """The page of the gate: a new version beside the one in production."""
    lake, gate = Lake(), AssetName(TUTORIAL, "gate")
    page.set_viewport_size({"width": 1100, "height": 800})
    page.goto((lake.artifact(gate, lake.artifacts(gate)[-1]) / "versions.html").as_uri())
    page.screenshot(path=to, full_page=True)


def open_asset(page: Any, address: str, where: str, shows: str) -> None:
    """Open an asset's page and wait until it shows a text."""
    page.set_viewport_size({"width": 1500, "height": 1000})
    page.goto(f"{address}/assets/flight_delay/{where}")
    page.get_by_text(shows).first.wait_for(timeout=PATIENCE)
    page.wait_for_timeout(3_000)


TAKE: dict[str, Callable[[Any, str, Path], None]] = {
    "graph": take_graph,
    "evaluation": take_evaluation,
    "operations": take_operations,
    "verdict": take_verdict,
    "profile": take_profile,
    "versions": take_versions,
}


def main() -> None:
    """Take the named pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Take pictures for the documentation.")
    parser.add_argument("names", nargs="+", choices=TAKE, metavar="NAME", help=", ".join(TAKE))
    parser.add_argument("--address", default="http://127.0.0.1:3000", help="where the UI listens")
    parser.add_argument("--to", type=Path, default=PICTURES, help="folder of the pictures")
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        try:
            for name in asked.names:
                page = browser.new_page()
                TAKE[name](page, asked.address, asked.to / f"{name}.png")
                page.close()
        finally:
            browser.close()


if __name__ == "__main__":
    main()
