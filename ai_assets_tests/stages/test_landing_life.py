"""Snapshots that arrive as files: the sensor, the runs that it asks for, and what they record."""

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from small_product import World, failure

from ai_assets.automation import condition
from ai_assets.automation.sensors import product_sensors
from ai_assets.stages.binding import bind

DECLARED: dict[str, Any] = {
    "description": "Will this customer leave?",
    "request": "customers",
    "tables": {
        "customers": {
            "source": {"landing": {"settled": "0 seconds", "first": "source.first"}},
            "key": ["number"],
            "columns": {
                "number": {"type": "int64", "example": 1},
                "fee": {"type": "float64", "example": 20.0},
                "gone": {"type": "bool", "known_at": "NULL"},
            },
        }
    },
    "label": {"sql": "gone"},
}
FIRST = """\
import polars as pl
def first(start, end):
    return pl.DataFrame({"number": [1, 2], "fee": [10.0, 20.0], "gone": [True, False]})
"""


class Place:
    """The product with its landing folder, and the sensor as the daemon would evaluate it."""

    def __init__(self, folder: Path) -> None:
        product = folder / "leavers"
        product.mkdir()
        content = {"type": "ai_assets.components.TabularProduct", "attributes": DECLARED}
        (product / "defs.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        (product / "features.sql").write_text("SELECT r._row_id, r.fee FROM request AS r\n")
        (product / "source.py").write_text(FIRST, encoding="utf-8")
        self.world = World.of(product, folder / "home")
        self.landing = folder / "home" / "landing" / "leavers" / "customers"
        self.cursor: str | None = None
        self.sensor = {s.name: s for s in product_sensors(self.world.product, self.world.assets)}[
            "leavers_landing"
        ]

    def put(self, name: str, rows: int) -> Path:
        self.landing.mkdir(parents=True, exist_ok=True)
        file = self.landing / name
        numbers = range(1, rows + 1)
        pl.DataFrame(
            {"number": numbers, "fee": [10.5] * rows, "gone": [n % 2 == 0 for n in numbers]}
        ).write_csv(file)
        return file

    def tick(self) -> Any:
        with dg.build_sensor_context(instance=self.world.instance, cursor=self.cursor) as context:
            data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data

    def raw(self) -> dg.ExecuteInProcessResult:
        return self.world.run("raw/customers", raises=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path / "home"))
    return Place(tmp_path)


def test_the_first_look_makes_the_folder_and_says_where_it_is(place: Place) -> None:
    data = place.tick()

    assert data.run_requests == []
    assert data.skip_message == f"customers: no new file in {place.landing}."
    assert place.landing.is_dir()
    assert place.raw().success
    assert place.world.rows("raw/customers")["number"].to_list() == ["1", "2"]


def test_a_file_starts_one_run_of_raw_alone(place: Place) -> None:
    place.put("may.csv", 5)

    (request,) = place.tick().run_requests
    again = place.tick()

    assert request.asset_selection == [place.world.key("raw/customers")]
    assert request.tags["ai_assets/landed"] == "may.csv"
    assert request.tags["dagster/max_retries"] == "3"
    assert again.run_requests == []


def test_after_a_lost_cursor_the_same_files_have_the_same_key_which_starts_nothing_twice(
    place: Place,
) -> None:
    place.put("may.csv", 5)
    (first,) = place.tick().run_requests
    place.cursor = None

    (second,) = place.tick().run_requests
    place.put("may.csv", 6)
    (third,) = place.tick().run_requests

    assert first.run_key == second.run_key != third.run_key


def test_a_file_that_is_still_written_starts_nothing_and_is_told(place: Place) -> None:
    place.put("june.csv.part", 5)

    waiting = place.tick()
    (place.landing / "june.csv.part").rename(place.landing / "june.csv")
    (request,) = place.tick().run_requests

    assert waiting.skip_message.endswith("Still being written: june.csv.part.")
    assert request.tags["ai_assets/landed"] == "june.csv"


def test_raw_records_which_file_became_which_version(place: Place) -> None:
    file = place.put("may.csv", 5)
    place.raw()
    version, told = place.world.version("raw/customers"), place.world.metadata("raw/customers")
    place.put("june.csv", 7)

    place.raw()

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["file"] == "may.csv"
    assert f"| may.csv | {file.stat().st_size} | {digest} |" in told["landed"]
    assert place.world.metadata("raw/customers")["file"] == "june.csv"
    assert place.world.version("raw/customers") != version
    assert place.world.rows("raw/customers").height == 7


def test_files_of_different_formats_follow_each_other_and_clean_to_the_same_rows(
    place: Place,
) -> None:
    place.world.run("raw/customers", "cleaned/customers")
    first = place.world.rows("cleaned/customers")
    rows = first.drop("_row_id")
    place.landing.mkdir(parents=True)
    for name, write in (("a.csv", rows.write_csv), ("b.parquet", rows.write_parquet)):
        write(place.landing / name)

        done = place.world.run("raw/customers", "cleaned/customers", raises=False)

        assert done.success and place.world.metadata("raw/customers")["file"] == name
        assert place.world.rows("cleaned/customers").equals(first)


def test_an_unreadable_file_is_named_once_stays_and_a_sound_one_goes_on(place: Place) -> None:
    place.put("may.csv", 5)
    place.raw()
    broken = place.landing / "june.csv"
    broken.write_bytes(b"number,fee,gone\n1,2.0\n3\n4,5.0,true,9\n")

    asked = place.tick().run_requests
    failed = place.raw()
    after = place.tick()

    assert [request.tags["ai_assets/landed"] for request in asked] == ["june.csv"]
    assert not failed.success and f"CSV file '{broken}' must be complete" in failure(failed)
    assert broken.is_file() and place.world.rows("raw/customers").height == 5
    assert after.run_requests == []  # not every 15 seconds again
    place.put("june_mended.csv", 6)
    assert len(place.tick().run_requests) == 1
    assert place.raw().success and place.world.rows("raw/customers").height == 6


def test_a_file_with_other_columns_is_named(place: Place) -> None:
    place.landing.mkdir(parents=True)
    (place.landing / "may.csv").write_text("number,fees,gone\n1,2.0,true\n")

    words = failure(place.raw())

    assert "lacks the declared column 'fee'. Did you mean 'fees'?" in words
    assert words.endswith(f"Read from '{place.landing / 'may.csv'}'.")


def test_what_follows_a_snapshot_is_asked_for_by_the_conditions(place: Place) -> None:
    product, stages = place.world.product, place.world.stages.values()
    assets = [bind(product, stage, condition(product, stage)) for stage in stages]
    defs = dg.Definitions(assets=assets, resources=vars(place.world.tools))
    place.put("may.csv", 5)
    before = dg.evaluate_automation_conditions(defs, instance=place.world.instance)
    place.raw()

    result = dg.evaluate_automation_conditions(
        defs, instance=place.world.instance, cursor=before.cursor
    )

    asked = {r.key.path[1] for r in result.results if r.true_subset.size}
    assert {"cleaned", "rejected", "labels", "features"} <= asked
    assert not {"raw", "training_set", "model", "release"} & asked
