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


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every": "month", "start": date(2013, 1, 2)}, "the first of a month"),
        ({"every": "week", "start": date(2013, 1, 1)}, "a Sunday"),
        ({"every": "day", "start": date(2013, 1, 2), "end": date(2013, 1, 1)}, "after start"),
        ({"every": "day", "start": date(2013, 1, 2), "timezone": "Mars"}, "IANA time zone"),
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
