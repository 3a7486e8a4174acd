"""The release ledger: added to, never changed, each decision once."""

import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.append_only import AppendOnly, OutrunError
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import COLUMNS, Entry, ReleaseLedger


def _entry(day: int, decision: str, bundle: str, recorded: int | None = None) -> Entry:
    return Entry(
        product="flight_delay",
        effective_from=datetime(2013, 6, day, tzinfo=UTC),
        recorded_at=datetime(2024, 1, recorded or day, tzinfo=UTC),
        stable=bundle,
        decision_id=decision,
        cause="drift",
        who="policy",
        why="distance drifted",
    )


def _moment(day: int, hour: int = 0) -> datetime:
    return datetime(2013, 6, day, hour, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> ReleaseLedger:
    return ReleaseLedger(lake=Lake(root=str(tmp_path / "lake")))


def test_before_the_first_release_nothing_is_in_production(ledger: ReleaseLedger) -> None:
    assert ledger.as_of("flight_delay", _moment(1)) is None
    assert ledger.history("flight_delay").height == 0

    ledger.append(_entry(2, "d1", "flight_delay:a"))

    assert ledger.as_of("flight_delay", _moment(1, 23)) is None
    assert ledger.as_of("another", _moment(9)) is None


def test_a_release_counts_from_its_own_moment_until_the_next(ledger: ReleaseLedger) -> None:
    first = ledger.append(_entry(2, "d1", "flight_delay:a"))
    second = ledger.append(_entry(5, "d2", "flight_delay:b"))

    assert ledger.as_of("flight_delay", _moment(2)) == first
    assert ledger.as_of("flight_delay", _moment(4, 23)) == first
    assert ledger.as_of("flight_delay", _moment(5)) == second


def test_an_entry_comes_back_as_it_was_given(ledger: ReleaseLedger, tmp_path: Path) -> None:
    new_york = timezone(timedelta(hours=-4))
    given = Entry(
        product="flight_delay",
        effective_from=datetime(2013, 6, 1, tzinfo=new_york),
        recorded_at=datetime(2024, 1, 1, 12, 30, 15, 123456, tzinfo=UTC),
        stable="flight_delay:a",
        decision_id="d1",
        cause="by hand",
        who="Ada",
        why="première",
        candidate="flight_delay:b",
        split=0.1,
        mode="canary",
        gate='{"passed": true}',
    )

    ledger.append(given)

    found = ledger.as_of("flight_delay", _moment(9))
    assert found == given
    assert found.effective_from == datetime(2013, 6, 1, 4, tzinfo=UTC)
    assert len(found.release_id) == 16
    assert (tmp_path / "lake" / "flight_delay" / "release" / "_delta_log").is_dir()


def test_a_decision_is_recorded_once_and_its_first_entry_stands(ledger: ReleaseLedger) -> None:
    first = ledger.append(_entry(2, "d1", "flight_delay:a"))

    again = ledger.append(_entry(3, "d1", "flight_delay:other"))

    assert again == first
    assert ledger.history("flight_delay")["stable"].to_list() == ["flight_delay:a"]


def test_a_rollback_is_an_entry_that_names_an_earlier_bundle(ledger: ReleaseLedger) -> None:
    for entry in (_entry(2, "d1", "p:a"), _entry(5, "d2", "p:b"), _entry(6, "d3", "p:a")):
        ledger.append(entry)

    named = [ledger.as_of("flight_delay", _moment(day)).stable for day in (2, 5, 6)]
    assert named == ["p:a", "p:b", "p:a"]
    assert ledger.history("flight_delay")["decision_id"].to_list() == ["d1", "d2", "d3"]


def test_a_correction_of_the_same_moment_wins_and_the_belief_before_it_can_be_read(
    ledger: ReleaseLedger,
) -> None:
    ledger.append(_entry(2, "d1", "p:wrong", recorded=2))
    ledger.append(_entry(2, "d2", "p:right", recorded=8))

    then = datetime(2024, 1, 8, tzinfo=UTC)
    assert ledger.as_of("flight_delay", _moment(3)).stable == "p:right"
    assert ledger.as_of("flight_delay", _moment(3), recorded_before=then).stable == "p:wrong"


def test_an_entry_recorded_late_for_an_earlier_moment_does_not_hide_later_ones(
    ledger: ReleaseLedger,
) -> None:
    ledger.append(_entry(5, "d1", "p:b", recorded=5))
    ledger.append(_entry(2, "d2", "p:a", recorded=9))

    assert ledger.as_of("flight_delay", _moment(6)).stable == "p:b"
    assert ledger.as_of("flight_delay", _moment(3)).stable == "p:a"


def test_delta_refuses_to_change_or_remove_entries(ledger: ReleaseLedger, tmp_path: Path) -> None:
    ledger.append(_entry(2, "d1", "p:a"))
    table = DeltaTable(str(tmp_path / "lake" / "flight_delay" / "release"))

    with pytest.raises(DeltaError, match="append-only"):
        table.delete()
    with pytest.raises(DeltaError, match="append-only"):
        pl.DataFrame({"release_id": ["x"]}).write_delta(table, mode="overwrite")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"effective_from": datetime(2013, 6, 1)}, "effective_from must be a moment with a time"),
        ({"recorded_at": datetime(2013, 6, 1)}, "recorded_at must be a moment with a time zone"),
        ({"stable": ""}, "stable must be a name, but got ''"),
        ({"decision_id": ""}, "decision_id must be a name"),
        ({"candidate": "p:b", "split": 1.5}, "split must be between 0 and 1, but got 1.5"),
        ({"split": 0.5}, "split without a candidate must be 0, but got 0.5"),
        ({"mode": "ab"}, "mode without a candidate must be empty, but got 'ab'"),
        ({"candidate": "p:b", "mode": "abc"}, "mode must be one of 'ab', 'canary', 'shadow'"),
        (
            {"candidate": "p:b", "split": 0.5, "mode": "shadow"},
            "split of a shadow must be 0, but got 0.5",
        ),
    ],
)
def test_an_entry_that_says_nothing_clear_is_refused(change: dict, words: str) -> None:
    given = {name: getattr(_entry(1, "d", "p:a"), name) for name in Entry.__dataclass_fields__}

    with pytest.raises(DataError, match=words):
        Entry(**{**given, **change})


def test_a_moment_without_a_time_zone_is_refused(ledger: ReleaseLedger) -> None:
    with pytest.raises(DataError, match="moment must be a moment with a time zone"):
        ledger.as_of("flight_delay", datetime(2013, 6, 1))


def test_a_commit_is_refused_when_its_decision_was_recorded_since_the_table_was_read(
    ledger: ReleaseLedger, tmp_path: Path
) -> None:
    ledger.append(_entry(1, "d1", "p:a"))
    uri = str(tmp_path / "lake" / "flight_delay" / "release")
    first, second, third = DeltaTable(uri), DeltaTable(uri), DeltaTable(uri)

    records = AppendOnly(ledger.lake, AssetName("flight_delay", "release"), COLUMNS, "decision_id")
    assert records._commit(first, asdict(_entry(2, "d2", "p:b")))
    assert not records._commit(second, asdict(_entry(2, "d2", "p:b")))
    assert records._commit(third, asdict(_entry(3, "d3", "p:c")))

    assert ledger.history("flight_delay")["decision_id"].to_list() == ["d1", "d2", "d3"]


def test_of_two_that_were_decided_by_the_same_history_one_is_recorded(
    ledger: ReleaseLedger, tmp_path: Path
) -> None:
    ledger.append(_entry(1, "d1", "p:a"))
    uri = str(tmp_path / "lake" / "flight_delay" / "release")
    records = AppendOnly(ledger.lake, AssetName("flight_delay", "release"), COLUMNS, "decision_id")
    first, second = DeltaTable(uri), DeltaTable(uri)

    assert records._commit(first, asdict(_entry(2, "d2", "p:b")), after=1)
    assert not records._commit(second, asdict(_entry(3, "d3", "p:c")), after=1)
    with pytest.raises(OutrunError, match="has 2 records, where 1 were read before"):
        ledger.append(_entry(3, "d3", "p:c"), after=1)
    # What is recorded already is returned, whatever came since.
    assert ledger.append(_entry(2, "d2", "p:b"), after=1).stable == "p:b"
    assert ledger.append(_entry(1, "d4", "p:c"), after=2).stable == "p:c"
    assert ledger.append(_entry(1, "d5", "p:c"), after=3).decision_id == "d5"

    assert ledger.history("flight_delay").height == 4


def test_a_ledger_from_before_there_were_modes_is_read_and_appended_to(
    ledger: ReleaseLedger, tmp_path: Path
) -> None:
    uri = tmp_path / "lake" / "flight_delay" / "release"
    older = {name: kind for name, kind in COLUMNS.items() if name != "mode"}
    before = AppendOnly(ledger.lake, AssetName("flight_delay", "release"), older, "decision_id")
    record = asdict(_entry(2, "d1", "p:a")) | {"candidate": "p:b", "split": 0.25}
    del record["mode"]
    before.append(record)

    found = ledger.as_of("flight_delay", _moment(3))
    assert (found.candidate, found.split, found.mode) == ("p:b", 0.25, "")
    assert ledger.append(_entry(9, "d1", "p:other")) == found

    tried = {"candidate": "p:b", "split": 0.5, "mode": "ab"}
    second = ledger.append(replace(_entry(5, "d2", "p:a"), **tried))

    assert ledger.as_of("flight_delay", _moment(6)) == second
    assert ledger.as_of("flight_delay", _moment(3)) == found
    assert ledger.history("flight_delay")["mode"].to_list() == ["", "ab"]
    # What reads only what it knew still can.
    assert sorted(before.read()["split"]) == [0.25, 0.5]
    with pytest.raises(DeltaError, match="append-only"):
        DeltaTable(str(uri)).delete()


WRITER = """
import sys, time
from datetime import UTC, datetime
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.append_only import AppendOnly
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import Entry, ReleaseLedger
root, who, folder = sys.argv[1:]
from pathlib import Path
ledger = ReleaseLedger(lake=Lake(root=root))
ledger.history("flight_delay")
Path(folder, who).touch()
while not Path(folder, "go").exists():
    time.sleep(0.001)
for day in range(1, 9):
    moment = datetime(2013, 6, day, tzinfo=UTC)
    kept = ledger.append(
        Entry("flight_delay", moment, moment, "p:a", f"shared {day}", "drift", who, "")
    )
    print(kept.decision_id, kept.who)
    ledger.append(Entry("flight_delay", moment, moment, "p:a", f"{who} {day}", "drift", who, ""))
"""


def test_processes_that_append_one_decision_at_once_record_it_once(tmp_path: Path) -> None:
    root, names = str(tmp_path / "lake"), ["ada", "bob", "eve"]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, root, name, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    deadline = time.monotonic() + 120
    while not all((tmp_path / name).exists() for name in names) and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "go").touch()

    told = [set(writer.communicate(timeout=120)[0].splitlines()) for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0, 0]
    # Each was told the same winner of each shared decision, and lost none of its own.
    assert told[0] == told[1] == told[2]
    found = ReleaseLedger(lake=Lake(root=root)).history("flight_delay")
    own = {f"{name} {day}" for name in names for day in range(1, 9)}
    assert sorted(found["decision_id"]) == sorted(own | {f"shared {day}" for day in range(1, 9)})
