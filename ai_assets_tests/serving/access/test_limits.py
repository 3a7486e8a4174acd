"""Rates and quotas, by value."""

import gc
from pathlib import Path

import pytest

from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.limits import (
    Bucket,
    Buckets,
    LimitError,
    Quota,
    Rate,
    SharedBuckets,
    parse_quota,
    parse_rate,
    parse_span,
    retry_after,
)
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.problems import Refused


@pytest.mark.parametrize("text", ["100/s", "1/min", "5/h", "100000/day"])
def test_a_limit_is_written_as_it_is_read(text: str):
    assert str(parse_rate(text)) == text
    assert str(parse_quota(text)) == text


def test_limits_and_spans_are_read_by_value():
    assert parse_rate("100/s") == Rate(100, 1)
    assert parse_quota("7/day") == Quota(7, 86400)
    assert (parse_span("90 days"), parse_span("12h"), parse_span("1 day")) == (
        7_776_000,
        43_200,
        86_400,
    )


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "1.5/s", "1/week", "1", "1/s "])
def test_another_way_to_write_a_limit_is_refused(text: str):
    with pytest.raises(LimitError, match="rate must be a count for each s, min, h or day"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "0 days", "days", "3 weeks", "1.5 h"])
def test_another_way_to_write_a_span_is_refused(text: str):
    with pytest.raises(LimitError, match="expires must be a span"):
        parse_span(text)


def test_a_bucket_gives_its_count_at_once_and_then_evenly():
    bucket = Bucket(Rate(2, 1), 10.0)

    assert [bucket.take(10.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert bucket.take(10.25) == pytest.approx(0.25)
    assert bucket.take(10.5) == 0.0
    assert bucket.take(10.5) == pytest.approx(0.5)


def test_a_bucket_never_holds_more_than_its_count():
    bucket = Bucket(Rate(2, 1), 0.0)

    assert [bucket.take(1000.0) for _ in range(3)] == [0.0, 0.0, 0.5]


def test_a_clock_that_goes_back_neither_fills_nor_empties_a_bucket():
    bucket = Bucket(Rate(2, 1), 10.0)
    bucket.take(10.0)

    assert bucket.take(5.0) == 0.0
    assert bucket.take(5.0) == 0.5


def test_windows_of_a_quota_begin_at_multiples_of_their_length():
    assert Quota(1, 86400).window(86400 * 3 + 5.5) == 86400 * 3
    assert Quota(1, 60).window(59.9) == 0


def test_a_caller_is_asked_to_wait_whole_seconds():
    assert [retry_after(s) for s in (0.01, 1.0, 1.2)] == ["1", "1", "2"]


RATE = Rate(1, 1000)


def test_after_the_clock_was_set_back_keys_pass_at_their_rate(tmp_path: Path):
    """Also where workers share a file, which outlives the moment."""
    now, ticks = [10_000.0], [50.0]
    for shared in (None, tmp_path):
        gate = Gate(
            "keys", KeyFile(tmp_path / "k"), lambda: now[0], shared=shared, steady=lambda: ticks[0]
        )
        key, _ = new_key("ada", ["predict"], now[0], rate=Rate(5, 1))
        for _ in range(100):
            gate._within_rate(key)
            now[0], ticks[0] = now[0] - 36.0, ticks[0] + 0.25
        for _ in range(5):
            gate._within_rate(key)
        with pytest.raises(Refused, match=r"may ask 5/s, and has"):
            gate._within_rate(key)


def test_a_worker_that_comes_a_little_late_gives_nothing_twice(tmp_path: Path):
    buckets = SharedBuckets(tmp_path / "rates")
    assert buckets.take("ada", Rate(1, 1), 10.0) == 0.0
    assert buckets.take("ada", Rate(1, 1), 9.5) == pytest.approx(1.0)

    assert buckets.take("ada", Rate(1, 1), 10.5) == pytest.approx(0.5)
    assert buckets.take("ada", Rate(1, 1), 11.0) == 0.0


def test_keys_have_buckets_of_their_own(tmp_path: Path):
    for buckets in (Buckets(), SharedBuckets(tmp_path / "rates")):
        waits = [buckets.take(who, RATE, 10.0) for who in ("ada", "bob", "ada", "bob", "\udce9")]

        assert waits == [0.0, 0.0, 1000.0, 1000.0, 0.0]


def test_subjects_of_any_number_take_one_file_of_one_size(tmp_path: Path):
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    buckets = SharedBuckets(tmp_path / "rates")

    first = [buckets.take(f"oidc:{n}", RATE, 10.0) for n in range(3000)]
    again = [buckets.take(f"oidc:{n}", RATE, 10.0) for n in range(3000)]

    assert set(first) == {0.0} and set(again) == {1000.0}
    assert len(list(descriptors.iterdir())) <= before + 1
    assert [file.name for file in tmp_path.iterdir()] == ["rates"]
    assert (tmp_path / "rates").stat().st_size <= 2 * 2**20
    assert Buckets(most=2).take("ada", RATE, 10.0) == 0.0
    del buckets
    gc.collect()
    assert len(list(descriptors.iterdir())) <= before


def test_where_there_is_no_room_the_one_that_asked_longest_ago_is_forgotten(tmp_path: Path):
    small = {
        Buckets(most=8): [f"k{n}" for n in range(8)],
        SharedBuckets(tmp_path / "rates", sets=1): [f"k{n}" for n in range(8)],
    }
    for buckets, names in small.items():
        for second, name in enumerate(names):
            assert buckets.take(name, RATE, 10.0 + second) == 0.0
        assert buckets.take("k0", RATE, 20.0) == pytest.approx(990.0)

        assert buckets.take("another", RATE, 21.0) == 0.0

        assert buckets.take("k0", RATE, 21.0) == pytest.approx(989.0)
        assert buckets.take("k2", RATE, 21.0) == pytest.approx(991.0)
        assert buckets.take("k1", RATE, 22.0) == 0.0


def test_a_process_whose_clock_is_behind_gives_nobody_more(tmp_path: Path):
    one, other = (SharedBuckets(tmp_path / "rates") for _ in range(2))

    waits = [one.take("ada", RATE, 2000.0), other.take("ada", RATE, 1000.0)]

    assert waits == [0.0, 1000.0]
    assert one.take("ada", RATE, 2000.0) == 1000.0
