"""The record of a server forgets what is old, and the lake keeps it whatever is run again."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from served_entries import ASKED, BUNDLE, PLACED, answered, order, outcome
from small_product import FEBRUARY, JANUARY, World, finding

from ai_assets.lifecycle.errors import DataError
from ai_assets.serving.record.answers import Counted
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import Store
from ai_assets.stages.retention import oldest_kept

DAY_US = 86_400_000_000
LATER = PLACED + timedelta(hours=2)


@pytest.fixture
def world(shared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small product with nothing in its lake; its log, of two years ago, is kept a year."""
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "{product}.sqlite"))
    monkeypatch.setenv("AI_ASSETS_LOG_DAYS", "365")
    return World.of(shared_folder, tmp_path / "home")


def at(moment: datetime, rows: list[dict[str, Any]]) -> Any:
    """A request of that moment."""
    us = micros(moment)
    return answered(rows, request_id=new_request_id(us), at_us=us)


def ids(log: Store) -> list[int]:
    return [entry.request_id for entry in log.answers((None, None))]


def test_what_the_lake_has_leaves_the_log_and_stays_in_the_lake(world: World, log: Store):
    old, young = at(ASKED, [order(1), order(2)]), at(datetime.now(ASKED.tzinfo), [order(3)])
    log.write([old, young])

    world.run("served", partition=JANUARY)
    first = world.rows("served", JANUARY)
    after = ids(log)
    again = world.run("served", partition=JANUARY)

    assert world.metadata("served", JANUARY)["forgotten_requests"] == 0
    assert after == ids(log) == [young.request_id]
    assert world.rows("served", JANUARY).equals(first)
    assert first["prediction_id"].to_list() == [*old.prediction_ids(), *young.prediction_ids()]
    words = "3 answers in the lake, 1 in the log and 2 that it holds no more."
    assert finding(again, "all_of_the_log") == (True, words)


def test_a_request_stays_until_the_lake_has_each_of_its_rows(world: World, log: Store):
    both = at(ASKED, [order(1), order(2, LATER)])
    log.write([both])

    world.run("served", partition=JANUARY)
    between = ids(log)
    world.run("served", partition=FEBRUARY)

    assert (between, ids(log)) == ([both.request_id], [])
    assert world.metadata("served", FEBRUARY)["forgotten_requests"] == 1
    found = [
        world.rows("served", month)["prediction_id"].to_list() for month in (JANUARY, FEBRUARY)
    ]
    assert found == [[one] for one in both.prediction_ids()]


def test_late_answers_join_those_that_the_log_forgot(world: World, log: Store):
    first, second = (at(ASKED + timedelta(hours=n), [order(n)]) for n in (1, 2))
    log.write([second])
    world.run("served", partition=JANUARY)

    # Another server's file comes later, with what was asked before.
    log.write([first])
    world.run("served", partition=JANUARY)

    found = world.rows("served", JANUARY)["prediction_id"].to_list()
    assert found == [*first.prediction_ids(), *second.prediction_ids()]
    assert ids(log) == []


def test_outcomes_leave_and_the_last_still_counts(world: World, log: Store):
    first, again = outcome(1, "late", ASKED), outcome(1, "not late", ASKED)
    log.write([first, again, outcome(2, "late", ASKED, LATER)])
    world.run("feedback", partition=JANUARY)
    left = [one.entity for one in log.outcomes((None, None))]

    log.write([outcome(1, "late", ASKED + timedelta(hours=1)), outcome(3, "late", ASKED)])
    world.run("feedback", partition=JANUARY)

    assert left == ['{"number": 2}']
    rows = world.rows("feedback", JANUARY)
    assert rows["outcome"].to_list() == ["late", "not late", "late", "late"]
    assert rows["entity"].to_list()[-1] == '{"number": 1}'
    assert world.metadata("feedback", JANUARY)["rows_told_of"] == 2
    assert world.metadata("feedback", JANUARY)["forgotten_outcomes"] == 2


def test_what_is_of_no_partition_goes_by_age(world: World, log: Store):
    vectors = answered([], given=b"", label=[])
    log.write([vectors, outcome(1, "late", ASKED)])
    old = Counted(5, 6, BUNDLE, "stable", "predict", 1, 0, 0, {})
    log.write([old])

    world.run("served", partition=JANUARY)

    assert ids(log) == list(log.counts((None, None))) == []
    # Outcomes are `feedback`'s to take away.
    assert len(list(log.outcomes((None, None)))) == 1


@pytest.mark.parametrize("setting", [None, "", "100000"])
def test_without_the_setting_or_before_its_time_nothing_leaves(
    world: World, log: Store, setting: str | None, monkeypatch: pytest.MonkeyPatch
):
    if setting is None:
        monkeypatch.delenv("AI_ASSETS_LOG_DAYS")
    else:
        monkeypatch.setenv("AI_ASSETS_LOG_DAYS", setting)
    entry = at(ASKED, [order(1)])
    log.write([entry, outcome(1, "late", ASKED)])

    world.run("served", "feedback", partition=JANUARY)

    assert ids(log) == [entry.request_id]
    assert len(list(log.outcomes((None, None)))) == 1
    assert world.metadata("served", JANUARY)["forgotten_requests"] == 0


def test_the_setting_is_days(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AI_ASSETS_LOG_DAYS", "3")
    assert oldest_kept(10 * DAY_US) == 7 * DAY_US

    for wrong in ("0", "-1", "1.5", "a week", "٣"):
        monkeypatch.setenv("AI_ASSETS_LOG_DAYS", wrong)
        with pytest.raises(DataError, match="AI_ASSETS_LOG_DAYS must be a whole number of days"):
            oldest_kept()
