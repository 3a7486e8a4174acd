"""What a person sees in the web UI."""

import pytest

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds: the first page loads the whole code location
LIFE = [
    "features", "labels", "training_set", "tuning", "model", "compressed_model", "evaluation",
    "model_card", "bundle", "gate", "release", "predictions", "drift", "drift_report",
]  # fmt: skip


def test_the_graph_of_flight_delay_shows_its_whole_life(webserver, page):
    page.goto(f"{webserver}/locations/ai_assets.definitions/asset-groups/flight_delay/lineage")

    page.get_by_text("drift_report", exact=True).first.wait_for(timeout=PATIENCE)

    nodes = page.locator("foreignObject").evaluate_all(
        "all => all.map(n => n.children[0].innerText)"
    )
    missing = [name for name in LIFE if not any(name in node.splitlines() for node in nodes)]
    assert missing == []
    assert sum("planes" in node.splitlines() for node in nodes) == 3  # raw, cleaned, rejected


def test_the_page_of_an_asset_says_what_it_is_and_what_it_holds(webserver, page):
    page.goto(f"{webserver}/assets/flight_delay/cleaned/planes?view=overview")

    for late in ("rejected_share", "flight_delay / raw / planes"):
        page.get_by_text(late, exact=True).first.wait_for(timeout=PATIENCE)
    text = page.locator("body").inner_text()
    assert "The aircraft of the registry, by tail number." in text
    assert "3,322" in text  # rows
    assert "manufacturer" in text  # a column
    assert "operations" in text  # owner
    assert "Delta Lake" in text  # kind


def test_the_checks_of_an_asset_stand_there_in_words(webserver, page):
    page.goto(f"{webserver}/assets/flight_delay/cleaned/planes?view=checks")

    page.get_by_text("every_row_accounted_for", exact=True).first.click(timeout=PATIENCE)

    page.get_by_text("3,322 raw = 3,322 cleaned + 0 rejected + 0 duplicates").wait_for(
        timeout=PATIENCE
    )
    text = page.locator("body").inner_text()
    assert "This is a blocking asset check." in text
    assert "few_rows_rejected" in text
