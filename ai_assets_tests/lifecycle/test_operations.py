"""The page of a product in operation, and the loop against other policies."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.operations.challenger import KINDS, Became, became
from ai_assets.lifecycle.operations.page import Chapter, operations_page
from ai_assets.lifecycle.operations.plot import drift_map, losses
from ai_assets.lifecycle.operations.policies import compare_policies, monthly_losses

PNG = b"\x89PNG"
LEDGER = pl.DataFrame({"stable": ["p:1"], "why": ["first <release>"]})


def scored(better: str, rows: int = 3000) -> pl.DataFrame:
    """Rows that one policy scores by the truth and the other by a noisy guess."""
    random = np.random.default_rng(0)
    truth = random.uniform(0.05, 0.95, rows)
    noisy = np.clip(truth + random.normal(size=rows) * 0.3, 0.02, 0.98)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    own, other = (truth, noisy) if better == "loop" else (noisy, truth)
    return pl.DataFrame(
        {
            "label": (random.random(rows) < truth).astype(float),
            "event_time": [start + timedelta(hours=i / 4) for i in range(rows)],
            "loop": own,
            "never": other,
            "partition": ["2024-01"] * (rows // 2) + ["2024-02"] * (rows - rows // 2),
        }
    )


@pytest.mark.parametrize(("better", "sign"), [("loop", -1), ("never", 1)])
def test_the_difference_is_below_zero_where_the_loop_is_better(better: str, sign: int) -> None:
    table = compare_policies(scored(better), ["never"], seed=0)

    loop, never = table.rows(named=True)
    assert (loop["policy"], loop["difference"]) == ("loop", None)
    assert never["difference"] == pytest.approx(loop["log_loss"] - never["log_loss"])
    assert sign * never["difference_low"] > 0 and sign * never["difference_high"] > 0
    assert loop["low"] < loop["log_loss"] < loop["high"]


def test_each_partition_has_its_own_loss() -> None:
    monthly = monthly_losses(scored("loop"), ["never"], seed=0)

    assert monthly["partition"].to_list() == ["2024-01", "2024-01", "2024-02", "2024-02"]
    whole = compare_policies(scored("loop"), ["never"], seed=0)["log_loss"][0]
    assert monthly.filter(policy="loop")["log_loss"].mean() == pytest.approx(whole)


def test_pictures_are_png() -> None:
    monthly = monthly_losses(scored("loop"), ["never"], seed=0)
    numbers = pl.DataFrame(
        {"partition": ["1", "1", "2"], "column": ["a", "b", "a"], "psi": [0.1, None, 0.6]}
    )
    assert losses(monthly).startswith(PNG)
    assert drift_map(numbers, 0.2).startswith(PNG)


def test_the_page_tells_what_was_decided_and_escapes_what_people_wrote() -> None:
    told = [
        Chapter(
            partition="2024-02",
            bundle="p:1",
            performance={"log_loss": "0.43"},
            cause="covariate_drift",
            severity=0.7,
            words="The inputs drifted: <b>load</b>.",
            decision="retrain",
            why="covariate_drift with severity 0.70",
            gate="The challenger is not better enough",
            became="kept out",
        ),
        Chapter(partition="2024-03", bundle="p:1", cause="broken_data", decision="alert"),
    ]
    table = compare_policies(scored("never"), ["never"], seed=0)
    page = operations_page("p", told, table, {"losses": "data:image/png;base64,AA"}, LEDGER)

    assert page.count("<tr>") == 1 + 2 + 1 + 1 + 1 + 2  # heads and rows of three tables
    assert "inputs drifted 0.70" in page and "broken data 0.00" in page
    assert "&lt;b&gt;load&lt;/b&gt;" in page and "first &lt;release&gt;" in page
    assert page.count("<b class='bad'>kept out</b>") == 1  # the alert has no challenger
    assert "<td class='number bad'>" in page  # the loop lost to never
    assert "http" not in page.replace("<!doctype html>", "")


def ledger(*entries: tuple[str, str | None]) -> pl.DataFrame:
    """Releases of one stable bundle and candidate each, a day apart from the first of May on."""
    days = [datetime(2024, 5, day, tzinfo=UTC) for day in range(1, len(entries) + 1)]
    stable, candidate = zip(*entries, strict=True)
    columns = {"stable": stable, "candidate": candidate, "recorded_at": days}
    return pl.DataFrame(columns, schema_overrides={"candidate": pl.String})


ALONE, OTHER = ledger(("p:1", None)), ledger(("p:1", None), ("p:3", None))


@pytest.mark.parametrize(
    ("releases", "passed", "by_hand", "said"),
    [
        (ALONE, False, False, "kept out"),
        (ALONE, False, True, "kept out"),
        (ALONE, True, True, "waits for approval"),
        (OTHER, True, True, "passed, not released"),
        (ALONE, True, False, "passed, not released"),
        (ledger(("p:1", None), ("p:1", "p:2")), True, False, "on trial"),
        (ledger(("p:1", None), ("p:1", "p:2"), ("p:1", None)), True, False, "taken back"),
        (ledger(("p:1", None), ("p:1", "p:2"), ("p:2", None)), True, False, "released"),
        (ledger(("p:1", None), ("p:2", None)), True, True, "released"),
        (ledger(("p:1", None), ("p:2", None), ("p:1", None)), True, False, "released"),
        (ledger(("p:1", None), ("p:2", None)), False, False, "released"),  # gate overridden
    ],
)
def test_the_page_says_what_became_of_a_challenger(
    releases: pl.DataFrame, passed: bool, by_hand: bool, said: Became
) -> None:
    since = datetime(2024, 5, 1, 12, tzinfo=UTC)

    found = became("p:2", passed, releases, approved_by_hand=by_hand, since=since)

    assert found == said
    told = [Chapter(partition="2024-05", bundle="p:1", decision="retrain", became=found)]
    page = operations_page("p", told, None, {}, releases)
    assert f"<b class='{KINDS[said]}'>{said}</b>" in page
    assert (">released</b>" in page) == (said == "released")


def test_a_page_without_a_backtest_has_no_table_of_policies() -> None:
    page = operations_page("p", [], None, {}, LEDGER)
    assert "other policies" not in page
