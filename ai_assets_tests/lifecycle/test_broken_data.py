"""Each detector of broken data: on data that is broken so, and on data that only drifts."""

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift.columns import category_profile
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.lifecycle.verdict.broken import broken_evidence
from ai_assets.lifecycle.verdict.clock import shift_of
from ai_assets.lifecycle.verdict.days import quiet_day, quiet_hour
from ai_assets.lifecycle.verdict.evidence import Evidence
from ai_assets.lifecycle.verdict.nulls import volume_evidence
from ai_assets.lifecycle.verdict.sketch import TableSketch, number_sketch, table_sketch
from ai_assets.lifecycle.verdict.spec import Causes
from ai_assets.lifecycle.verdict.units import (
    FAMILIES,
    best_fit,
    canonical,
    conversions,
    unit_evidence,
)
from ai_assets_tests.lifecycle import cause_worlds as world

REFERENCE = world.sketches(world.raw(1))
OTHER = world.raw(2)
RANDOM = np.random.default_rng(0)


def found(table: str, frame: pl.DataFrame, *, spans: bool = True) -> list[Evidence]:
    """The evidence when one table of another sample is replaced."""
    seen = world.observed({**OTHER, table: frame}, REFERENCE, spans=spans)
    return broken_evidence(seen, Causes())


def kinds(evidence: list[Evidence]) -> set[tuple[str, str]]:
    return {(e.kind, e.subject) for e in evidence}


def where(frame: pl.DataFrame, mask: pl.Expr | pl.Series, **values: object) -> pl.DataFrame:
    """The frame with other values in columns where the mask holds."""
    changes = [pl.when(mask).then(v).otherwise(pl.col(c)).alias(c) for c, v in values.items()]
    return frame.with_columns(changes)


def chance(frame: pl.DataFrame, share: float) -> pl.Series:
    return pl.Series(RANDOM.random(frame.height) < share)


def test_another_sample_of_the_same_is_not_broken() -> None:
    assert found("orders", OTHER["orders"]) == []


def test_drift_within_reason_is_not_broken() -> None:
    orders = OTHER["orders"].with_columns(pl.col("weight") * 1.3 + 2, pl.col("price") + 20)
    rooms = OTHER["rooms"].with_columns(pl.col("temp") + 8, pl.col("load") - 10)

    assert found("orders", orders) == []
    assert found("rooms", rooms) == []


def test_missing_values_that_spread_are_named() -> None:
    orders = where(OTHER["orders"], chance(OTHER["orders"], 0.1), price=None)

    evidence = found("orders", orders)

    assert kinds(evidence) == {("nulls", "orders.price")}
    assert "orders.price is missing in 10" in evidence[0].words
    assert found("orders", where(OTHER["orders"], chance(orders, 0.02), price=None)) == []


@pytest.mark.parametrize("hours", [-9, -5, 4, 12])
@pytest.mark.parametrize("table", ["orders", "rooms"])
def test_a_clock_is_known_by_when_things_happen(table: str, hours: int) -> None:
    """Within the partition, so that only the hours of the day can tell."""
    time = world.DECLARED.tables[table].time
    assert time is not None
    later = OTHER[table].with_columns(pl.col(time) + timedelta(hours=hours))
    span = world.END - world.START
    late, early = pl.col(time) >= world.END, pl.col(time) < world.START
    turned = pl.when(late).then(pl.col(time) - span).when(early).then(pl.col(time) + span)
    evidence = found(table, later.with_columns(turned.otherwise(pl.col(time)).alias(time)))

    assert kinds(evidence) == {("clock", f"{table}.{time}")}
    assert f"shifted by {abs(hours)} hours to {'later' if hours > 0 else 'earlier'}" in (
        evidence[0].words
    )


def test_times_outside_the_partition_and_on_strange_minutes_are_named() -> None:
    later = OTHER["rooms"].with_columns(pl.col("hour") + timedelta(hours=2))
    assert "outside the partition" in found("rooms", later)[0].words

    half = OTHER["rooms"].with_columns(pl.col("hour") + timedelta(minutes=30))
    assert "other minutes of the hour" in found("rooms", half)[0].words


def test_a_circular_shift_is_found_with_its_sign() -> None:
    shape = np.array([0.0, 1, 4, 9, 4, 1, 0, 0])

    step, same, as_is = shift_of(shape, np.roll(shape, -2))

    assert (step, same) == (-2, pytest.approx(1))
    assert as_is < 0.5


def test_a_stuck_value_is_named_wherever_it_sticks() -> None:
    late = pl.col("hour") >= world.START + timedelta(days=24)
    one = found("rooms", where(OTHER["rooms"], late & (pl.col("shop") == "mid"), load=41.5))
    every = found("rooms", where(OTHER["rooms"], late, load=41.5))
    constant = found("orders", OTHER["orders"].with_columns(shop=pl.lit("east")))

    assert ("stuck", "rooms.load") in kinds(one)
    assert "successive rows of one shop" in one[0].words
    assert ("stuck", "rooms.load") in kinds(every)
    assert kinds(constant) == {("stuck", "orders.shop")}
    assert "one value in all rows" in constant[0].words


def test_a_default_that_fills_gaps_is_a_stuck_value_and_another_mix_is_not() -> None:
    filled = where(OTHER["orders"], chance(OTHER["orders"], 0.2), weight=0.0)
    mixed = OTHER["orders"].filter((pl.col("shop") == "east") | chance(OTHER["orders"], 0.2))

    assert ("stuck", "orders.weight") in kinds(found("orders", filled))
    assert found("orders", mixed) == []


def test_rows_that_do_not_come_are_named() -> None:
    few = found("orders", OTHER["orders"].filter(chance(OTHER["orders"], 0.1)))
    ended = OTHER["orders"].filter(pl.col("placed") < world.START + timedelta(days=20))

    assert kinds(few) == {("volume", "orders")}
    assert kinds(found("orders", ended)) == {("gap", "orders")}


def test_rows_that_break_the_contract_come_twice_or_lack_a_column_are_named() -> None:
    negative = found("orders", where(OTHER["orders"], chance(OTHER["orders"], 0.1), weight=-1.0))
    twice = found("orders", pl.concat([OTHER["orders"], OTHER["orders"].head(600)]))
    renamed = found("orders", OTHER["orders"].rename({"price": "cost"}))

    assert ("contract", "orders.weight") in kinds(negative)
    assert "because weight is below 0 kg" in negative[0].words
    assert kinds(twice) == {("duplicates", "orders")}
    assert kinds(renamed) == {("schema", "orders")}
    assert "lacks the declared column 'price'" in renamed[0].words


def test_a_table_of_few_rows_is_not_judged_by_its_values() -> None:
    few = OTHER["rooms"].head(60).with_columns(temp=pl.lit(1.0))

    seen = world.observed({**OTHER, "rooms": few}, REFERENCE, spans=False)
    seen["rooms"] = replace(seen["rooms"], reference=replace(REFERENCE["rooms"], daily=None))

    assert broken_evidence(seen, Causes()) == []


@pytest.mark.parametrize(
    ("table", "column", "to"),
    [
        ("rooms", "temp", "fahrenheit"),
        ("rooms", "temp", "kelvin"),
        ("rooms", "load", "share"),
        ("orders", "weight", "pound"),
        ("orders", "weight", "gram"),
        ("orders", "delay", "second"),
        ("orders", "delay", "hour"),
    ],
)
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_another_unit_is_named(table: str, column: str, to: str, drift: float) -> None:
    unit = world.DECLARED.tables[table].columns[column].unit
    known = canonical(unit)
    (conversion,) = [c for c in conversions(unit) if c.words == f"{known} to {to}"]
    value = pl.col(column) * (1 + drift) * conversion.factor + conversion.offset
    if column == "delay":
        value = value.round().cast(pl.Int64)

    evidence = found(table, OTHER[table].with_columns(value.alias(column)))

    assert ("unit", f"{table}.{column}") in kinds(evidence)
    if drift == 0:
        assert any(conversion.words in e.words for e in evidence)


def test_a_unit_that_only_some_rows_have_is_found_by_what_other_columns_say() -> None:
    some = chance(OTHER["orders"], 0.15)
    weight = where(OTHER["orders"], some, weight=pl.col("weight") * 1000)

    (evidence,) = found("orders", weight)

    assert (evidence.kind, evidence.subject) == ("unit", "orders.weight")
    assert "no longer agrees" in evidence.words
    assert evidence.value == pytest.approx(0.15, abs=0.03)


def test_a_warm_season_is_no_change_of_unit() -> None:
    winter = number_sketch(pl.Series(RANDOM.normal(35, 10, 5_000)))
    column = Column(type="float64", unit="fahrenheit")
    assert winter is not None

    summer = best_fit(pl.Series(RANDOM.normal(78, 7, 5_000)), winter, column, Causes())
    celsius = pl.Series((RANDOM.normal(35, 10, 5_000) - 32) / 1.8)
    fit = best_fit(celsius, winter, column, Causes())

    assert summer is None
    assert fit is not None
    assert fit.conversion.words == "fahrenheit to celsius"


def test_units_are_known_by_many_names() -> None:
    assert canonical("°F") == canonical("Fahrenheit") == "fahrenheit"
    assert canonical("miles") == canonical("mi") == "mile"
    assert canonical("hhmm") is None
    words = [c.words for c in conversions("celsius")]
    assert words[:2] == ["celsius to fahrenheit", "celsius to kelvin"]
    (fahrenheit,) = [c for c in conversions("celsius") if c.words == words[0]]
    assert 100 * fahrenheit.factor + fahrenheit.offset == pytest.approx(212)


@pytest.mark.parametrize("unit", [None, "hhmm"])
def test_without_a_known_unit_a_conversion_is_told_in_numbers(unit: str | None) -> None:
    words = {(c.factor, c.offset): c.words for c in conversions(unit)}

    assert words[round(1e5 / 6894.757, 9), 0.0] == "multiplied by 14.504"
    assert words[1.8, 32.0] == "multiplied by 1.8, then 32 added"
    assert words[1.0, -273.15] == "273.15 subtracted"
    assert words[0.016666667, 0.0] == "divided by 60"
    assert words[86_400_000.0, 0.0] == "multiplied by 86,400,000"
    named = {name for family in FAMILIES for name in family}
    assert not [told for told in words.values() if any(name in told for name in named)]


@pytest.mark.parametrize(
    ("unit", "said"), [("minute", "minute to second"), (None, "multiplied by 60")]
)
def test_the_verdict_names_units_only_of_a_declared_one(unit: str | None, said: str) -> None:
    table = world.DECLARED.tables["orders"]
    delay = table.columns["delay"].model_copy(update={"unit": unit})
    told = table.model_copy(update={"columns": {**table.columns, "delay": delay}})

    evidence = unit_evidence(
        OTHER["orders"].with_columns(pl.col("delay") * 60), told, REFERENCE["orders"], Causes()
    )

    assert [(e.kind, e.subject) for e in evidence] == [("unit", "delay")]
    assert evidence[0].words.startswith(f"delay looks converted: {said} (")


def test_a_sketch_is_read_back_and_tells_no_rare_value() -> None:
    sketch = REFERENCE["orders"]

    again = TableSketch.from_json(sketch.to_json())

    assert again == sketch
    assert max(OTHER["orders"]["weight"]) not in sketch.numbers["weight"].quantiles
    assert all(part >= 0.05 for part in sketch.numbers["delay"].common.values())
    with pytest.raises(DataError, match="format must be"):
        TableSketch.from_json(sketch.to_json().replace('"format": 1, "gap"', '"format": 9, "gap"'))


def of_day(frame: pl.DataFrame, table: str, day: int) -> pl.DataFrame:
    """The rows of one day, as a partition of its own."""
    time = world.DECLARED.tables[table].time
    assert time is not None
    start = world.START + timedelta(days=day)
    return frame.filter(pl.col(time).is_between(start, start + timedelta(days=1), closed="left"))


def of_one_day(frame: pl.DataFrame, table: str, day: int = 10) -> set[tuple[str, str]]:
    """Evidence when the partition is one day."""
    start = world.START + timedelta(days=day)
    seen = world.observed({**OTHER, table: frame}, REFERENCE)[table]
    span = (start, start + timedelta(days=1))
    return kinds(broken_evidence({table: replace(seen, span=span)}, Causes(min_rows=50)))


@pytest.mark.parametrize("day", range(0, 30, 5))
def test_a_partition_of_one_day_is_judged_as_one(day: int) -> None:
    orders, rooms = (of_day(OTHER[t], t, day) for t in ("orders", "rooms"))
    # A storm turns the day's course around, which tells nothing of the clock.
    storm = rooms.with_columns(temp=40 - pl.col("temp"), load=80 - pl.col("load"))

    assert of_one_day(orders, "orders", day) == set()
    assert of_one_day(rooms, "rooms", day) == set()
    assert of_one_day(storm, "rooms", day) == set()
    empty = of_one_day(where(orders, chance(orders, 0.4), price=None), "orders", day)
    assert empty == {("nulls", "orders.price")}
    assert of_one_day(orders.head(5), "orders", day) == {("volume", "orders")}


def of_one_hour(rows: int, busy: range) -> list[str]:
    """What is said of an hour of so many rows, where usual are 20 in each hour of the day."""
    table = Table.model_validate(
        {"source": {"csv": "a.csv"}, "time": "at", "columns": {"at": {"type": "datetime"}}}
    )
    hours = [world.START + timedelta(hours=h) for h in range(240) if h % 24 in busy]
    usual = pl.DataFrame({"at": [hour for hour in hours for _ in range(20)]})
    noon = world.START + timedelta(days=11, hours=12)
    now = pl.DataFrame({"at": [noon] * rows}, schema=usual.schema)
    span = (noon, noon + timedelta(hours=1))
    reference = table_sketch(usual, table, by_hours=True)
    found = volume_evidence(now, table, reference, Causes(), span=span)
    return [one.words for one in found]


def test_a_partition_of_one_hour_is_judged_by_hours() -> None:
    always, by_day = range(24), range(8, 20)

    assert of_one_hour(20, always) == of_one_hour(5, always) == []
    assert of_one_hour(4, always) == ["4 rows came in the hour, before 20 in the quietest"]
    assert of_one_hour(0, always) == ["0 rows came in the hour, before 20 in the quietest"]
    assert of_one_hour(0, by_day) == []


def test_one_time_that_is_far_off_takes_no_memory() -> None:
    """A row of the year 9999 is 70 million hours away."""
    far = pl.DataFrame(
        {"at": [datetime(2025, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]}
    )
    table = Table.model_validate(
        {"source": {"csv": "a.csv"}, "time": "at", "columns": {"at": {"type": "datetime"}}}
    )
    tracemalloc.start()
    try:
        found = quiet_hour(far, table), quiet_day(far, table, "UTC")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == (0.0, 0.0)
    assert peak < 10_000_000


def test_what_is_usual_may_be_all_there_is() -> None:
    def rain(seed: int, share: float) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        wet = random.random(OTHER["orders"].height) < share
        return OTHER["orders"].with_columns(
            price=pl.Series(np.where(wet, random.random(len(wet)), 0))
        )

    dry = rain(0, 0.0)
    often, seldom = (
        world.sketches({**world.raw(1), "orders": rain(1, share)}) for share in (0.4, 0.05)
    )

    stuck = broken_evidence(world.observed({**OTHER, "orders": dry}, often), Causes())
    usual = broken_evidence(world.observed({**OTHER, "orders": dry}, seldom), Causes())

    assert ("stuck", "orders.price") in kinds(stuck)
    assert usual == []


def test_a_number_that_stays_for_a_day_is_no_surprise_on_a_day() -> None:
    # A sensor that rounds to whole degrees holds one for most of some days.
    def rounded(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(temp=(18 + (pl.col("temp") - 18) / 8).round())

    reference = world.sketches({**world.raw(1), "rooms": rounded(world.raw(1)["rooms"])})
    start = world.START + timedelta(days=10)
    span = (start, start + timedelta(days=1))
    rooms = rounded(of_day(OTHER["rooms"], "rooms", 10))
    seen = world.observed({**OTHER, "rooms": rooms}, reference)["rooms"]

    found = broken_evidence({"rooms": replace(seen, span=span)}, Causes(min_rows=50))

    assert reference["rooms"].value_peaks["temp"][0] > 0.5
    assert found == []


def test_heavier_rain_in_the_same_steps_is_no_other_unit() -> None:
    rain = np.random.default_rng(0).exponential(0.1, 4000).round(2)
    heavier = (rain * 2.54).round(2)
    reference = number_sketch(pl.Series("precip", rain))
    column = Column(type="float64", unit="inch")

    assert reference is not None and reference.grid == 0.01
    assert best_fit(pl.Series("precip", heavier), reference, column, Causes()) is None
    fit = best_fit(pl.Series("precip", rain * 2.54), reference, column, Causes())
    assert fit is not None and fit.conversion.words == "inch to centimetre"


@pytest.mark.parametrize("name", ["n", "rows", "value", "count"])
def test_a_column_may_be_called_as_what_is_counted(name: str) -> None:
    rain = pl.Series(name, [0.0] * 60 + [i / 7 for i in range(340)])
    words = pl.Series(name, ["dry"] * 60 + ["wet"] * 340)

    sketch, profile = number_sketch(rain), category_profile(words)

    assert sketch is not None and sketch.common == {"0.0": pytest.approx(61 / 400)}
    assert profile.counts == {"wet": 340, "dry": 60}
