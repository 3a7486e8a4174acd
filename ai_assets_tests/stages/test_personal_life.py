"""Personal data through a whole life: no file of the state holds a plain value."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient
from small_product import World

from ai_assets.lifecycle.cleaning.personal import pseudonym
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.resources.pseudonyms import pseudonym_key
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.stages.backtest import rows_to_learn_from
from ai_assets.stages.training_data import TrainingData, in_order, load_training_data

ROWS = 1_500
LIFE = (
    "raw/people", "raw/calls", "cleaned/people", "cleaned/calls", "rejected/people", "labels",
    "features", "training_set", "tuning", "model/linear", "model", "compressed_model",
    "evaluation", "model_card", "bundle", "gate", "release", "predictions", "drift",
    "performance", "drift_report", "verdict",
)  # fmt: skip
SQL = """\
SELECT r._row_id, r.age, r.area, r.fee, c.calls
FROM request AS r LEFT JOIN calls AS c ON c.number = r.number
"""
DECLARED: dict[str, Any] = {
    "description": "Will this person leave?",
    "request": "people",
    "tables": {
        "people": {
            "source": {"csv": "people.csv"},
            "key": ["number"],
            "columns": {
                "number": {"type": "int64", "min": 1, "personal": "hash", "example": 1},
                "mail": {"type": "string", "personal": "drop"},
                "phone": {"type": "string", "personal": "mask", "pattern": r"\+\d{12}",
                          "known_at": "NULL"},
                "age": {"type": "int64", "personal": "generalize", "to": 10, "example": 40},
                "area": {"type": "string", "personal": "generalize", "to": 1, "example": "1"},
                "fee": {"type": "float64", "example": 20.0},
                "gone": {"type": "bool", "known_at": "NULL"},
            },
        },
        "calls": {
            "source": {"csv": "calls.csv"},
            "key": ["number"],
            "columns": {
                "number": {"type": "int64", "personal": "hash"}, "calls": {"type": "int64"},
            },
        },
    },
    "label": {"sql": "gone"},
    "training": {"families": ["linear"], "tune": {"trials": 1, "folds": 1}, "threads": 1},
}  # fmt: skip
NUMBERS = [830_000_007 + 7919 * i for i in range(ROWS)]


MONTHS = ("2024-01-01", "2024-02-01")


def monthly() -> dict[str, Any]:
    """The same product in partitions: each day's people came at one moment."""
    declared = copy.deepcopy(DECLARED)
    declared["partitions"] = {"every": "month", "start": MONTHS[0], "end": "2024-03-01"}
    declared["tables"]["people"]["time"] = "since"
    declared["tables"]["people"]["columns"]["since"] = {"type": "datetime"}
    declared["label"]["arrives_after"] = "1 day"
    declared["training"]["window"] = 2
    return declared


def write(folder: Path, declared: dict[str, Any] = DECLARED) -> Path:
    folder.mkdir()
    content = {"type": "ai_assets.components.TabularProduct", "attributes": declared}
    (folder / "defs.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (folder / "features.sql").write_text(SQL, encoding="utf-8")
    luck = np.random.default_rng(2)
    fee, calls = luck.uniform(5, 60, ROWS).round(2), luck.integers(0, 9, ROWS)
    people = pl.DataFrame(
        {
            "number": [str(number) for number in NUMBERS],
            "mail": [f"quill{i}@example.org" for i in range(ROWS)],
            "phone": [f"+4930{55_000_000 + 31 * i}" for i in range(ROWS)],
            "age": [str(n) for n in luck.integers(18, 90, ROWS)],
            "area": [f"{n}9QX7" for n in luck.integers(1, 9, ROWS)],
            "fee": fee,
            "gone": 0.1 * (fee - 30) + (calls - 4) + luck.logistic(0, 1, ROWS) > 0,
        }
    )
    broken = people.head(2).with_columns(
        number=pl.Series(["Wilhelmina", NUMBERS[0]], strict=False, dtype=pl.String),
        phone=pl.Series(["+493055000001", "Zaunkoenigweg"]),
    )
    people = pl.concat([people, broken])
    if "partitions" in declared:
        days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=i % 60) for i in range(ROWS + 2)]
        people = people.with_columns(since=pl.Series([day.isoformat() for day in days]))
    people.write_csv(folder / "people.csv")
    pl.DataFrame({"number": NUMBERS, "calls": calls}).write_csv(folder / "calls.csv")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("personal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AI_ASSETS_HOME", str(folder / "home"))
        patch.delenv("AI_ASSETS_PSEUDONYM_KEY", raising=False)
        world = World.of(write(folder / "leaving"), folder / "home")
        world.runs["life"] = world.run(*LIFE)
        yield world


def plain_values() -> list[str]:
    """What stood in the source: some of each column, and all that broke the contract."""
    some = range(0, ROWS, 50)
    return [
        "Wilhelmina", "Zaunkoenigweg", *(str(NUMBERS[i]) for i in some),
        *(f"quill{i}@example.org" for i in some), *(f"+4930{55_000_000 + 31 * i}" for i in some),
        *(f"{n}9QX7" for n in range(1, 9)),
    ]  # fmt: skip


def holding(home: Path, values: list[str]) -> set[str]:
    """The files below a folder that hold one of the values; tables are read, for compression."""
    found = set()
    files = [file for file in sorted(home.rglob("*")) if file.is_file()]
    assert {".parquet", ".json", ".onnx", ".db"} <= {file.suffix for file in files}
    for file in files:
        text = file.read_bytes().decode("latin-1")
        if file.suffix == ".parquet":
            frame = pl.read_parquet(file, hive_partitioning=False)
            flat = frame.select(pl.exclude(pl.List, pl.Struct, pl.Binary))
            text += flat.cast(pl.String).write_csv()
        found |= {f"{value} in {file.relative_to(home)}" for value in values if value in text}
    return found


def test_no_file_of_the_state_holds_a_plain_value(world: World) -> None:
    assert holding(world.home, plain_values()) == set()


def test_the_search_finds_what_is_kept(world: World) -> None:
    kept = pseudonym(str(NUMBERS[0]), pseudonym_key())

    assert any(path.endswith(".parquet") for path in holding(world.home, [kept]))


def test_broken_rows_are_rejected_with_their_rule(world: World) -> None:
    rejected = world.rows("rejected/people")

    assert sorted(rejected["_rule"]) == [
        "number broke its contract before it was treated",
        "phone broke its contract before it was treated",
    ]
    assert world.rows("cleaned/people").height == ROWS


def test_tables_are_joined_by_pseudonyms(world: World) -> None:
    features = world.rows("features")
    people, calls = world.rows("cleaned/people"), world.rows("cleaned/calls")

    assert features["calls"].null_count() == 0
    assert people["number"].sort().equals(calls["number"].sort())
    assert set(features["age"]) == {10, 20, 30, 40, 50, 60, 70, 80}
    assert set(features["area"]) == {str(n) for n in range(1, 9)}


def test_raw_and_the_card_say_how_each_column_is_treated(world: World) -> None:
    said = world.metadata("raw/people")["personal"]
    card = world.metadata("model_card")["card"]

    assert said == "number: hash, mail: drop, phone: mask, age: generalize, area: generalize"
    assert "people.number (hash)" in card and "people.mail (drop)" in card


def test_callers_send_the_pseudonym_and_a_plain_value_is_refused_unrepeated(world: World) -> None:
    (stable,) = world.tools.ledger.history("leaving")["stable"]
    settings = Settings(lake=str(world.home / "lake"), access="open")
    app = create_app(world.tools.bundles.payload(stable), settings)
    row = {"age": 40, "area": "3", "fee": 21.5}
    with TestClient(app, client=("127.0.0.1", 50000), headers={"Host": "localhost"}) as client:
        name = pseudonym(str(NUMBERS[50]), pseudonym_key())
        answered = client.post("/predict", json=row | {"number": name})
        refused = client.post("/predict", json=row | {"number": str(NUMBERS[50])})
        page = client.get("/openapi.json").text

    assert answered.status_code == 200
    assert refused.status_code == 400 and "number" in refused.text
    assert str(NUMBERS[50]) not in refused.text
    assert "0" * 32 in page
    assert holding(world.home, plain_values()) == set()
    assert any("served" in path for path in holding(world.home, [name]))


def test_the_key_of_pseudonyms_decides_neither_the_split_nor_what_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = LIFE[: LIFE.index("model/linear") + 1]
    folder = write(tmp_path / "leaving")

    def learned(number: int) -> tuple[pl.DataFrame, TrainingData, str]:
        monkeypatch.setenv("AI_ASSETS_PSEUDONYM_KEY", f"{number} is one of several keys")
        world = World.of(folder, tmp_path / f"home-{number}")
        world.run(*upstream)
        rows = world.rows("training_set").select("age", "area", "fee", "calls", "label", "split")
        return rows, load_training_data(world.step("tuning")), world.version("model/linear")

    (first, data, model), (second, other, again) = learned(1), learned(2)

    assert first["split"].value_counts(sort=True)["count"].to_list() == [1064, 235, 201]
    assert first.sort(pl.all()).equals(second.sort(pl.all()))
    assert set(data.rows["_row_id"]).isdisjoint(other.rows["_row_id"])
    assert np.array_equal(data.whole.x, other.whole.x, equal_nan=True)
    assert (data.whole.y == other.whole.y).all()
    assert model == again


def test_nor_does_it_where_rows_have_times_and_many_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "leaving", monthly())
    data = ("raw/people", "cleaned/people", "rejected/people", "labels", "features")

    def learned(number: int) -> tuple[TrainingData, pl.DataFrame, str]:
        monkeypatch.setenv("AI_ASSETS_PSEUDONYM_KEY", f"{number} is one of several keys")
        world = World.of(folder, tmp_path / f"home-{number}")
        world.run("raw/calls", "cleaned/calls")
        world.run(*data, partition=MONTHS[0], last=MONTHS[1])
        world.run("training_set", "tuning", "model/linear", partition=MONTHS[1])
        step = world.step("tuning", MONTHS[1])
        again = rows_to_learn_from(step, list(MONTHS))
        return load_training_data(step), again, world.version("model/linear", MONTHS[1])

    (first, policy, model), (second, other, again) = learned(1), learned(2)

    days = first.rows["event_time"]
    assert (days.len(), days.n_unique(), days.is_sorted()) == (1500, 60, True)
    assert set(first.rows["_row_id"]).isdisjoint(second.rows["_row_id"])
    assert first.rows.drop("_row_id").equals(second.rows.drop("_row_id"))
    assert np.array_equal(first.whole.x, second.whole.x, equal_nan=True)
    assert model == again
    assert policy.drop("_row_id").equals(other.drop("_row_id"))
    assert policy["event_time"].is_sorted() and policy.height == first.rows.height


def test_rows_without_pseudonyms_in_their_id_stay_in_the_order_of_it() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "_row_id": [3, 1, 2],
            "event_time": [moment, moment, moment - timedelta(1)],
            "x": [1, 2, 3],
        }
    )
    people = DECLARED["tables"]["people"]
    plain = copy.deepcopy(people)
    plain["columns"]["number"] = {"type": "int64"}
    plain["columns"]["friend"] = {"type": "string", "personal": "hash"}
    unkeyed = {name: part for name, part in plain.items() if name != "key"}

    def ids(declared: dict[str, Any]) -> list[int]:
        return in_order(rows, Table.model_validate(declared))["_row_id"].to_list()

    assert ids(plain) == [2, 1, 3]
    by_content = ids(people)
    # An id is nothing else than a name: other ids leave the rows where they are.
    swapped = rows.with_columns(_row_id=pl.Series([1, 3, 2]))
    assert by_content[0] == 2 and ids(unkeyed) == by_content
    moved = in_order(swapped, Table.model_validate(people))["x"].to_list()
    assert moved == in_order(rows, Table.model_validate(people))["x"].to_list()
    assert in_order(swapped, Table.model_validate(plain))["x"].to_list() == [3, 1, 2]
