from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_assets.lifecycle.partitions import Partitions, missing_partitions
from ai_assets.stages.binding import dagster_partitions

STARTS = {
    "month": date(2013, 1, 1),
    "week": date(2013, 1, 6),
    "day": date(2013, 3, 1),
    "hour": date(2013, 3, 1),
}
ENDS = {
    "month": date(2014, 1, 1),
    "week": date(2013, 12, 29),
    "day": date(2013, 4, 15),
    "hour": date(2013, 3, 5),
}


@pytest.mark.parametrize("every", list(STARTS))
@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo"])
def test_keys_and_spans_are_those_of_dagster(every: str, timezone: str) -> None:
    ours = Partitions(every=every, start=STARTS[every], end=ENDS[every], timezone=timezone)
    theirs = dagster_partitions(ours)
    keys = theirs.get_partition_keys()

    for key in keys:
        window = theirs.time_window_for_partition_key(key)
        assert ours.span(key).start.timestamp() == window.start.timestamp()
        assert ours.span(key).end.timestamp() == window.end.timestamp()
        assert ours.contains(key)
    assert ours.shift(keys[0], len(keys) - 1) == keys[-1]
    assert not ours.contains(ours.shift(keys[-1], 1))


@pytest.mark.parametrize("every", ["hour", "day"])
@pytest.mark.parametrize(
    ("timezone", "start"),
    [
        ("Europe/Berlin", date(2025, 10, 25)),  # the clock is put back: 02:00 comes twice
        ("Europe/Berlin", date(2026, 3, 28)),  # and forward: 02:00 does not come
        ("America/Sao_Paulo", date(2018, 11, 3)),  # forward at midnight
        ("America/Havana", date(2025, 11, 1)),  # back to midnight
    ],
)
def test_no_time_is_lost_or_doubled_where_the_clock_changes(
    every: str, timezone: str, start: date
) -> None:
    end = start + timedelta(days=3)
    ours = Partitions(every=every, start=start, end=end, timezone=timezone)
    theirs = dagster_partitions(ours)
    keys = list(theirs.get_partition_keys())
    spans = [ours.span(key) for key in keys]

    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    for key, span in zip(keys, spans, strict=True):
        window = theirs.time_window_for_partition_key(key)
        assert (span.start.timestamp(), span.end.timestamp()) == (
            window.start.timestamp(),
            window.end.timestamp(),
        )
        assert ours.key_at(span.start) == ours.key_at(span.end - timedelta(seconds=1)) == key
        assert ours.is_key(key)
    assert ours.first == keys[0]
    assert [ours.shift(keys[0], by) for by in range(len(keys))] == keys
    assert [ours.shift(keys[-1], -by) for by in range(len(keys))] == keys[::-1]
    assert ours.window(keys[-1], 100) == keys


def test_the_hour_that_comes_twice_has_two_keys_and_the_one_that_does_not_come_none() -> None:
    autumn = Partitions(every="hour", start=date(2025, 10, 1), timezone="Europe/Berlin")

    assert autumn.key_at(datetime(2025, 10, 26, 0, 30, tzinfo=UTC)) == "2025-10-26-02:00"
    assert autumn.key_at(datetime(2025, 10, 26, 1, 30, tzinfo=UTC)) == "2025-10-26-02:00+0100"
    assert not autumn.is_key("2025-10-26-03:00+0100")
    assert not autumn.is_key("2026-03-29-02:00")
    assert not autumn.is_key("2026-03-29")


def test_a_local_month_begins_at_local_midnight() -> None:
    months = Partitions(every="month", start=date(2013, 1, 1), timezone="America/New_York")

    assert months.span("2013-04-01").start == datetime(2013, 4, 1, 4, tzinfo=UTC)
    assert months.span("2013-03-01").start == datetime(2013, 3, 1, 5, tzinfo=UTC)
    assert months.key_at(datetime(2013, 4, 1, 3, 59, tzinfo=UTC)) == "2013-03-01"


def test_a_window_ends_with_its_key_and_begins_no_earlier_than_the_calendar() -> None:
    months = Partitions(every="month", start=date(2013, 1, 1))

    assert months.window("2013-05-01", 3) == ["2013-03-01", "2013-04-01", "2013-05-01"]
    assert months.window("2013-01-01", 3) == ["2013-01-01"]


@given(st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)), st.sampled_from(sorted(STARTS)))
def test_every_instant_lies_in_the_span_of_its_key(moment: datetime, every: str) -> None:
    calendar = Partitions(every=every, start=STARTS[every])
    instant = moment.replace(tzinfo=UTC)

    span = calendar.span(calendar.key_at(instant))

    assert span.start <= instant < span.end


def test_a_lookback_reaches_as_many_partitions_as_it_could_touch() -> None:
    months = Partitions(every="month", start=date(2013, 1, 1))

    assert months.reach(timedelta(days=1)) == 1
    assert months.reach(timedelta(days=29)) == 2
    assert months.reach(timedelta(0)) == 0


def test_a_lookback_reaches_over_a_day_that_the_clock_makes_shorter() -> None:
    """24 hours before March 30 begins, March 29, of 23 hours, had not begun."""
    days = Partitions(every="day", start=date(2026, 3, 1), timezone="Europe/Berlin")
    key = "2026-03-30"
    first = days.span(key).start - timedelta(days=1)

    reached = days.window(key, 1 + days.reach(timedelta(days=1)))

    assert days.span(reached[0]).start <= first
    assert (days.shortest, days.longest) == (timedelta(hours=23), timedelta(hours=25))
    winter = Partitions(
        every="day", start=date(2026, 1, 1), end=date(2026, 3, 1), timezone="Europe/Berlin"
    )
    assert winter.reach(timedelta(days=1)) == 1
    hours = Partitions(every="hour", start=date(2026, 3, 1), timezone="Europe/Berlin")
    assert hours.reach(timedelta(hours=3)) == 3
    # Without a change from 2015 to 2022, with two a year since.
    cairo = Partitions(every="day", start=date(2016, 1, 1), timezone="Africa/Cairo")
    assert cairo.reach(timedelta(days=1)) == 2
    samoa = Partitions(every="day", start=date(2011, 12, 1), timezone="Pacific/Apia")
    assert samoa.reach(timedelta(days=1)) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every": "month", "start": date(2013, 1, 2)}, "the first of a month"),
        ({"every": "week", "start": date(2013, 1, 1)}, "a Sunday"),
        ({"every": "day", "start": date(2013, 1, 2), "end": date(2013, 1, 1)}, "after start"),
        ({"every": "day", "start": date(2013, 1, 2), "timezone": "Mars"}, "IANA time zone"),
        (
            {"every": "hour", "start": date(2013, 1, 2), "timezone": "Australia/Lord_Howe"},
            "by whole hours, where partitions are hours, but got 'Australia/Lord_Howe'",
        ),
    ],
)
def test_a_wrong_calendar_says_what_is_allowed(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Partitions(**given)


def test_missing_partitions_are_named_with_the_command_that_fills_them() -> None:
    message = str(missing_partitions("p/features", ["2013-02-01", "2013-01-01"], "+key:p/features"))

    assert "2013-01-01, 2013-02-01" in message
    assert "--select '+key:p/features' --partition-range 2013-01-01...2013-02-01" in message
    assert "--partition 2013-01-01" in str(missing_partitions("x", ["2013-01-01"], "x"))
