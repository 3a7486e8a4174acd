"""The log's way into the lake: by value, by partition, and into what performance is judged by."""

import json
from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served_entries import ASKED, BUNDLE, PLACED, answered, order, outcome
from small_product import FEBRUARY, JANUARY, World, finding

from ai_assets.resources.ledger import Entry
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import Store
from ai_assets.stages import served
from ai_assets.stages.merged import in_chunks, merged
from ai_assets.stages.outcomes import arrived_outcomes
from ai_assets.stages.served import (
    FEEDBACK,
    SERVED,
    of_a_release,
    one_outcome,
    served_frame,
    whole,
)


@pytest.fixture
def world(shared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The small product with nothing in its lake, and a log that is not there yet."""
    monkeypatch.setenv("AI_ASSETS_LOG", str(tmp_path / "{product}.sqlite"))
    return World.of(shared_folder, tmp_path / "home")


def test_answers_come_into_the_partition_of_their_rows(world: World, log: Store):
    later = PLACED + timedelta(hours=2)
    entry = answered([order(1), order(2, later), order(3)])
    after = new_request_id(micros(ASKED) + 1000)
    log.write([entry, answered([order(4, later)], latency_ms=8.0, request_id=after)])

    world.run("served", partition=JANUARY, last=FEBRUARY)

    january, february = world.rows("served", JANUARY), world.rows("served", FEBRUARY)
    ids = entry.prediction_ids()
    assert january["prediction_id"].to_list() == [ids[0], ids[2]]
    assert february["prediction_id"].to_list()[0] == ids[1]
    assert february.height == 2
    row = january.row(0, named=True)
    assert (row["event_time"], row["asked_at"], row["key_id"]) == (PLACED, ASKED, "k1")
    assert (row["bundle"], row["probability"], row["predicted"]) == (BUNDLE, 0.75, "late")
    assert json.loads(row["features"]) == {"shop": "north", "load": 0.5}
    assert json.loads(row["request"]) == order(1)
    metadata = world.metadata("served", FEBRUARY)
    assert (metadata["dagster/row_count"], metadata["callers"]) == (2, 1)
    assert metadata["latency_ms/p99"] == 8.0


def test_rows_have_the_ids_that_they_have_in_the_cleaned_table(world: World, log: Store):
    world.run("raw/orders", "cleaned/orders", partition=JANUARY)
    known = world.rows("cleaned/orders", JANUARY).sort("placed").row(5, named=True)
    log.write(
        [
            answered([order(known["number"], known["placed"])]),
            outcome(known["number"], "late", ASKED, known["placed"]),
        ]
    )

    world.run("served", "feedback", partition=JANUARY)

    assert world.rows("served", JANUARY)["_row_id"].to_list() == [known["_row_id"]]
    assert world.rows("feedback", JANUARY)["_row_id"].to_list() == [known["_row_id"]]


def test_without_a_log_or_without_rows_partitions_are_empty_and_sound(world: World):
    result = world.run("served", "feedback", partition=FEBRUARY)

    assert world.rows("served", FEBRUARY).schema == pl.Schema(SERVED)
    assert world.rows("feedback", FEBRUARY).schema == pl.Schema(FEEDBACK)
    assert world.rows("served", FEBRUARY).is_empty()
    assert finding(result, "all_of_the_log") == (
        True,
        "0 answers in the lake, 0 in the log.",
    )
    assert finding(result, "answered_by_a_release")[0]
    assert finding(result, "one_outcome_a_row")[0]


def test_an_answer_without_a_release_is_told(world: World, log: Store):
    log.write([answered([order(1)])])

    result = world.run("served", partition=JANUARY)

    assert finding(result, "answered_by_a_release") == (
        False,
        f"Answered without a release: {BUNDLE} (1).",
    )
    assert of_a_release({BUNDLE: 3}, {BUNDLE}).words == "3 answers, all by bundles of the ledger."


def test_an_answer_that_is_lost_or_there_twice_is_told():
    a, ab, aa = (pl.LazyFrame({"prediction_id": list(ids)}) for ids in ("a", "ab", "aa"))
    assert whole(ab, ab.reverse()).passed
    assert whole(a, ab, left=1).passed and not whole(a, ab).passed
    lost, twice = whole(ab, a), whole(a, aa)
    assert not lost.passed and "1 are missing, 0 are there twice" in lost.words
    assert not twice.passed and "0 are missing, 1 are there twice" in twice.words


def test_a_month_of_answers_is_brought_without_being_held(
    world: World, log: Store, monkeypatch: pytest.MonkeyPatch
):
    held: list[int] = []

    def counted(rows: list[Any], table: Any, classes: int) -> pl.DataFrame:
        held.append(len(rows))
        return served_frame(rows, table, classes)

    monkeypatch.setattr(served, "served_frame", counted)
    monkeypatch.setattr(in_chunks, "__defaults__", (700,))
    batch = [order(n) for n in range(1000)]
    entries = [
        answered(batch, request_id=new_request_id(micros(ASKED) + 1000 * n)) for n in range(3)
    ]
    log.write(entries)

    result = world.run("served", partition=JANUARY)

    assert held == [700, 700, 700, 700, 200]
    rows = world.rows("served", JANUARY)
    assert rows["prediction_id"].to_list() == [i for e in entries for i in e.prediction_ids()]
    words = "3,000 answers in the lake, 3,000 in the log."
    assert finding(result, "all_of_the_log") == (True, words)


def test_what_was_brought_and_what_is_new_come_together_in_their_order():
    def frames(*parts: str) -> list[pl.DataFrame]:
        return [pl.DataFrame({"id": list(part)}, schema={"id": pl.String}) for part in parts]

    def together(new: tuple[str, ...], old: tuple[str, ...]) -> str:
        return "".join(pl.concat(merged(frames(*new), frames(*old), "id"))["id"].to_list())

    assert together(("",), ("abc", "def")) == "abcdef"
    assert together(("ce", "fk"), ("abc", "", "dgh", "imn")) == "abcdefghikmn"
    assert together(("abc",), ("abc",)) == "abc"
    assert together(("b", "d"), ("ab", "cd", "e")) == "abcde"
    assert together(("xy",), ("ab",)) == "abxy"
    assert together(("ab",), ()) == "ab"


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(1, 9))
def test_merging_is_the_union_however_it_is_cut(new: set[int], old: set[int], size: int):
    def frames(ids: set[int], column: str) -> list[pl.DataFrame]:
        there = sorted(f"{i:02d}" for i in ids)
        cut = [there[n : n + size] for n in range(0, len(there), size)] or [[]]
        return [
            pl.DataFrame(
                {"id": part, "of": [column] * len(part)}, {"id": pl.String, "of": pl.String}
            )
            for part in cut
        ]

    found = pl.concat(merged(frames(new, "new"), frames(old, "old"), "id"))

    assert found["id"].to_list() == sorted(f"{i:02d}" for i in new | old)
    assert found.filter(pl.col("of") == "old").height == len(old - new)


def test_all_outcomes_are_kept_and_two_ways_are_told(world: World, log: Store):
    log.write([outcome(1, "not late", ASKED), outcome(2, "late", ASKED)])
    log.write([outcome(1, "late", ASKED + timedelta(hours=1))])

    result = world.run("feedback", partition=JANUARY)

    rows = world.rows("feedback", JANUARY)
    assert rows["label"].to_list() == [0.0, 1.0, 1.0]
    assert rows["outcome"].to_list() == ["not late", "late", "late"]
    assert rows["_row_id"][0] == rows["_row_id"][2] != rows["_row_id"][1]
    assert world.metadata("feedback", JANUARY)["rows_told_of"] == 2
    words = "1 of 2 rows were told to have come out in two ways."
    assert finding(result, "one_outcome_a_row") == (False, words)
    assert one_outcome(rows.head(2)).passed


def test_vectors_have_no_row_and_are_part_of_no_partition(world: World, log: Store):
    vectors = answered([], given=b"", label=["late"], features=array("f", [1.0, 0.5]).tobytes(),
                       probability=array("d", [0.5]).tobytes())  # fmt: skip
    log.write([vectors])

    world.run("served", partition=JANUARY)

    assert world.rows("served", JANUARY).is_empty()


def test_outcomes_that_callers_told_judge_answers_of_the_server_and_of_batches(
    world: World, log: Store
):
    known = datetime(2024, 2, 2, tzinfo=UTC)
    log.write([answered([order(n) for n in (1, 2, 3, 4)])])
    again = {"request_id": new_request_id(micros(ASKED) + 1000)}
    log.write([answered([order(1)], probability=array("d", [0.25]).tobytes(), **again)])
    log.write([outcome(n, "late", known) for n in (1, 2, 3)])
    log.write([outcome(1, "not late", known)])
    world.run("served", "feedback", partition=JANUARY)
    served = world.rows("served", JANUARY)
    ids = served["_row_id"].to_list()
    write(world, "predictions", {"_row_id": ids[2], "probability": 0.5, "bundle": BUNDLE})
    label = {"label": 0.0, "event_time": PLACED, "known_at": known}
    write(world, "labels", {"_row_id": ids[1], **label})

    rows = arrived_outcomes(world.step("performance", FEBRUARY)).rows

    told = {r["_row_id"]: (r["label"], r["probability"]) for r in rows.iter_rows(named=True)}
    # Of the first the last answer and the last outcome count, of the second the table's own label,
    # of the third the batch's answer; of the fourth nothing is known.
    assert told == {ids[0]: (0.0, 0.25), ids[1]: (0.0, 0.75), ids[2]: (1.0, 0.5)}
    assert rows["known_at"].unique().to_list() == [known]
    assert arrived_outcomes(world.step("performance", JANUARY)).rows.is_empty()


def test_an_outcome_told_of_a_row_at_another_time_judges_it_no_more_than_it_labels_it(
    world: World, log: Store
):
    known = datetime(2024, 2, 2, tzinfo=UTC)
    off = PLACED + timedelta(hours=1)
    log.write([answered([order(1), order(2)])])
    log.write([outcome(1, "late", known, off), outcome(2, "late", known)])
    world.run("served", "feedback", partition=JANUARY)
    ids = world.rows("served", JANUARY)["_row_id"].to_list()
    unknown = {"label": None, "event_time": PLACED, "known_at": known + timedelta(hours=3)}
    world.tools.lake.replace(
        world.product.asset("labels"),
        pl.DataFrame(
            [{"_row_id": one, **unknown} for one in ids],
            schema_overrides={"label": pl.Float64, "_row_id": pl.Int64},
        ).with_columns(pl.col("event_time", "known_at").cast(pl.Datetime("us", "UTC"))),
        JANUARY,
    )

    rows = arrived_outcomes(world.step("performance", FEBRUARY)).rows

    assert rows.select("_row_id", "label", "known_at").rows() == [(ids[1], 1.0, known)]


def write(world: World, asset: str, row: dict[str, Any]) -> None:
    """Put one row into an asset's January."""
    schema = {"_row_id": pl.Int64} | {
        name: pl.Datetime("us", "UTC") for name, value in row.items() if isinstance(value, datetime)
    }
    frame = pl.DataFrame([row], schema_overrides=schema)
    world.tools.lake.replace(world.product.asset(asset), frame, JANUARY)


def test_a_candidate_beside_a_release_answers_by_a_release(world: World, log: Store):
    world.tools.ledger.append(
        Entry(
            "late_orders", PLACED, PLACED, "late_orders:another", "d1", "by hand", "ada", "a look",
            candidate=BUNDLE, split=0.1, mode="ab",
        )
    )  # fmt: skip
    log.write([answered([order(1)], role="candidate")])

    result = world.run("served", partition=JANUARY)

    words = "1 answers, all by bundles of the ledger."
    assert finding(result, "answered_by_a_release") == (True, words)


def test_an_outcome_is_there_once_however_often_it_is_brought(world: World, log: Store):
    log.write([outcome(1, "late", ASKED), outcome(2, "late", ASKED)])
    for _ in range(2):
        world.run("feedback", partition=JANUARY)

    assert world.rows("feedback", JANUARY)["entity"].to_list() == ['{"number": 1}', '{"number": 2}']


def test_the_time_that_a_shadow_took_is_not_among_the_callers(world: World, log: Store):
    after = new_request_id(micros(ASKED) + 1000)
    log.write(
        [
            answered([order(1)]),
            answered([order(1)], role="shadow", latency_ms=900.0, key_id="k2", request_id=after),
        ]
    )

    world.run("served", partition=JANUARY)

    metadata = world.metadata("served", JANUARY)
    assert (metadata["dagster/row_count"], metadata["callers"]) == (2, 1)
    assert metadata["latency_ms/p99"] == 4.0


def test_a_label_that_arrives_as_a_month_ends_is_judged_in_that_month_alone(world: World):
    known = datetime(2024, 2, 1, tzinfo=UTC)
    write(world, "predictions", {"_row_id": 7, "probability": 0.5, "bundle": BUNDLE})
    write(world, "labels", {"_row_id": 7, "label": 1.0, "event_time": PLACED, "known_at": known})

    found = [arrived_outcomes(world.step("performance", m)).rows for m in (JANUARY, FEBRUARY)]

    assert [rows.height for rows in found] == [1, 0]
