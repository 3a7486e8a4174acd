"""What every log does, wherever it lies: what was written is read, all or nothing, by many."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from record_entries import AT, answered, counts, told

from ai_assets.serving.record.answers import Described, LogError
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import Store, open_store, read_store

WRITE_MANY = """
import sys
sys.path.insert(0, sys.argv[2])
from entries import answered
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import open_store
store = open_store(sys.argv[1])
for _ in range(100):
    store.write([answered(), answered()])
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log may lie; there is none yet."""
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "log.sqlite")
    server: Any = request.getfixturevalue("postgres")
    return str(server.log_of())


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    """An empty log."""
    made = open_store(place)
    yield made
    made.close()


def test_what_was_written_is_read_field_by_field(store: Store):
    one, two = answered(rows=3, key_id=None, model=None), answered(event=None, label=[1.5])
    outcome, described = told(outcome=2.5, prediction_id="p"), Described("trips:1", "{}")

    store.write([described, one, two, outcome])
    store.write([described])

    assert store.find([one.request_id, two.request_id, 5]) == {
        one.request_id: one,
        two.request_id: two,
    }
    assert [e.request_id for e in store.answers((None, None))] == sorted(
        [one.request_id, two.request_id]
    )
    assert list(store.outcomes((None, None))) == [outcome]
    assert store.descriptions() == {"trips:1": described}


def test_the_newest_answers_of_a_bundle_in_a_role_and_the_newest_outcomes(store: Store):
    early, first, second = (
        answered(request_id=new_request_id(AT + at), at_us=AT + at) for at in (-5000, 0, 2000)
    )
    other = answered(request_id=new_request_id(AT + 3000), role="shadow")
    another = answered(request_id=new_request_id(AT + 3000), bundle="trips:2")
    sent = [told(at_us=AT + at) for at in (-1, 0, 5)]
    store.write([early, second, first, other, another, *sent])

    assert list(store.newest_answers(AT, "trips:1", "stable", 9)) == [second, first]
    assert list(store.newest_answers(AT, "trips:1", "stable", 1)) == [second]
    assert list(store.newest_answers(AT, "trips:1", "shadow", 9)) == [other]
    assert list(store.newest_answers(AT + 1000, "trips:1", "stable", 9)) == [second]
    assert [one.at_us for one in store.newest_outcomes(AT, 9)] == [AT + 5, AT]
    assert [one.at_us for one in store.newest_outcomes(AT, 1)] == [AT + 5]


def test_a_span_of_event_time_holds_its_start_and_not_its_end(store: Store):
    early, wide, late = answered(9), answered(event_from=5, event_to=12), answered(20)
    timeless = answered(None)
    store.write([early, wide, late, timeless, told(9), told(10), told(20), told(None)])

    def ids(start: int | None, end: int | None) -> set[int]:
        return {entry.request_id for entry in store.answers((start, end))}

    assert ids(10, 20) == {wide.request_id}
    assert ids(9, 10) == {early.request_id, wide.request_id}
    assert ids(20, None) == {late.request_id}
    assert [o.event_us for o in store.outcomes((10, 20))] == [10]
    assert [o.event_us for o in store.outcomes((None, None))] == [9, 10, 20, None]


def test_a_group_is_kept_whole_or_not_at_all(store: Store):
    kept, fresh = answered(), answered()
    store.write([kept])

    with pytest.raises(LogError, match=r"The log cannot be used: (UNIQUE|duplicate key)"):
        store.write([fresh, kept])
    store.write([told()])

    assert set(store.find([kept.request_id, fresh.request_id])) == {kept.request_id}
    assert len(list(store.outcomes((None, None)))) == 1


def test_two_processes_write_one_new_log(place: str):
    command = [sys.executable, "-c", WRITE_MANY, place, str(Path(__file__).parent)]

    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(writer.communicate(timeout=60)[1], writer.returncode) for writer in writers]

    assert ended == [("", 0), ("", 0)]
    entries = list(open_store(place).answers((None, None)))
    assert len({entry.request_id for entry in entries}) == len(entries) == 400


def test_all_is_there_for_who_opens_the_log_again_and_nothing_before_it_was_made(place: str):
    assert read_store(place) is None
    entry, described = answered(), Described("trips:1", "{}")
    first = open_store(place)
    first.write([described, entry])
    first.close()

    again = read_store(place)

    assert again is not None
    assert list(again.answers((None, None))) == [entry]
    assert again.descriptions() == {"trips:1": described}
    again.close()


def test_many_are_found_among_many_and_read_in_the_order_of_their_ids(store: Store):
    entries = [answered(n) for n in range(1200)]
    store.write(entries)

    found = store.find([entry.request_id for entry in entries[::2]])

    assert found == {entry.request_id: entry for entry in entries[::2]}
    read = list(store.answers((None, None)))
    assert read == sorted(entries, key=lambda entry: entry.request_id)
    assert {e.event_from for e in store.answers((1000, 1003))} == {1000, 1001, 1002}


def test_reading_goes_on_while_the_log_is_written(store: Store):
    store.write([answered() for _ in range(1200)])

    reading = store.answers((None, None))
    next(reading)
    store.write([answered()])

    assert len(list(reading)) == 1199
    assert len(list(store.answers((None, None)))) == 1201


def test_texts_and_bytes_come_back_as_they_were(store: Store):
    odd = answered(
        given=bytes(range(256)), features=b"", label=["späť 'x' \\x00 %s", 'a"b'], rows=2
    )
    outcome = told(entity='{"name": "O\'Neil % ?"}', outcome="spät")

    store.write([odd, outcome])

    assert list(store.answers((None, None))) == [odd]
    assert list(store.outcomes((None, None))) == [outcome]


def test_counts_are_read_by_the_clock(store: Store):
    early, late = counts(from_us=10, to_us=20), counts(from_us=20, to_us=30, role="candidate")
    store.write([early, late])

    assert list(store.counts((None, None))) == [early, late]
    assert list(store.counts((10, 30))) == [early]
    assert list(store.counts((20, None))) == [late]
    assert list(store.counts((11, 30))) == []


def test_what_is_old_is_named_and_what_is_named_is_forgotten(store: Store):
    old = [
        answered(request_id=new_request_id(AT + at), at_us=AT + at, event=event, rows=rows)
        for at, event, rows in ((0, 7, 1), (1000, None, 3))
    ]
    young = answered(request_id=new_request_id(AT + 2000))
    sent = [told(at_us=AT, entity=str(n)) for n in range(3)] + [told(at_us=AT + 2000)]
    ended = counts(from_us=AT, to_us=AT + 1000)
    running = counts(from_us=AT + 1000, to_us=AT + 2000)
    store.write([young, *reversed(old), *sent, ended, running])

    aged = list(store.aged(AT + 2000))
    numbers = dict(store.aged_outcomes(AT + 2000))
    first, _, third = numbers

    assert [(one.request_id, one.at_us, one.event_from, one.rows) for one in aged] == [
        (one.request_id, one.at_us, one.event_from, one.rows) for one in old
    ]
    assert [one.prediction_ids() for one in aged] == [one.prediction_ids() for one in old]
    assert list(numbers.values()) == sent[:3]
    for _ in range(2):
        store.forget([old[1].request_id], [first, third])
        store.forget_counts(AT + 2000)
    assert set(store.find([e.request_id for e in (*old, young)])) == {
        old[0].request_id,
        young.request_id,
    }
    assert list(store.outcomes((None, None))) == [sent[1], sent[3]]
    assert list(store.counts((None, None))) == [running]


def test_many_are_forgotten_while_another_writes(store: Store, place: str):
    entries = [answered() for _ in range(1200)]
    store.write(entries)
    beside = open_store(place)

    for entry in beside.aged(AT + 1_000_000):
        if entry.request_id == entries[0].request_id:
            store.write([answered(at_us=AT + 1)])
    beside.forget([e.request_id for e in entries], [])
    store.write([told()])
    beside.close()

    assert [e.at_us for e in store.answers((None, None))] == [AT + 1]
