"""What a person sees in the web UI."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE = 60_000  # milliseconds: the first page loads the whole code location


def test_the_graph_of_flight_delay_shows_its_assets(webserver, page, tmp_path):
    page.goto(f"{webserver}/asset-groups?expanded=flight_delay")
    page.goto(f"{webserver}/locations/ai_assets.definitions/asset-groups/flight_delay/lineage")

    page.get_by_text("model_card", exact=True).first.wait_for(timeout=PATIENCE)

    page.screenshot(path=tmp_path / "graph.png")
    assert page.get_by_text("features", exact=True).count() > 0
    assert page.get_by_text("release", exact=True).count() > 0


def test_an_asset_page_shows_name_and_group(webserver, page, tmp_path):
    page.goto(f"{webserver}/assets/flight_delay/features?view=definition")

    page.get_by_text("Description", exact=True).first.wait_for(timeout=PATIENCE)

    page.screenshot(path=tmp_path / "features.png")
    text = page.locator("body").inner_text()
    assert "flight_delay" in text
    assert "features" in text
