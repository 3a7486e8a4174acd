"""Take the README's picture of the graph from the running web UI.

Start `make dev`, then run: `.venv/bin/python docs/take_pictures.py [http://127.0.0.1:3000]`
"""

import shutil
import sys
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def take_graph_picture(address: str, to: Path) -> None:
    """Wait until the graph of flight_delay is drawn and save it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = browser.new_page(viewport={"width": 2000, "height": 1200})
        page.goto(f"{address}/locations/ai_assets/asset-groups/flight_delay/lineage")
        page.get_by_text("model_card", exact=True).first.wait_for(timeout=90_000)
        page.wait_for_timeout(3_000)  # the graph fits itself to the window after it is drawn
        page.screenshot(path=to)
        browser.close()


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take_graph_picture(
        sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000", PICTURES / "graph.png"
    )
