"""A small real payload: a logistic model over three features, a lookup and an ASOF join."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import manifest_facts, plan_file, schema_files

FACTS = manifest_facts(
    product="trips",
    partition="2013-04-01",
    description="Will this trip be late?",
    task="binary",
    horizon=timedelta(hours=2),
    created_from={"trips": 1},
    features_digest="abc",
    code_version="1",
)
NOON = datetime(2013, 4, 10, 12, tzinfo=UTC)
ROW = {"due": "2013-04-10T15:30:00Z", "place": "EWR", "carrier": "UA", "distance": 1400}
SQL = """
WITH observed AS (SELECT known_at, temp FROM weather)
SELECT r._row_id, r.place, r.distance, c.age AS carrier_age, w.temp
FROM request AS r
LEFT JOIN carriers AS c ON c.carrier = r.carrier
ASOF LEFT JOIN observed AS w ON w.known_at <= r.prediction_time
"""
FEATURES = pl.DataFrame(
    {
        "place": ["EWR", "JFK", "LGA"],
        "distance": [200, 1400, 2400],
        "carrier_age": [10, 20, None],
        "temp": [30.0, 50.0, 70.0],
    }
)
WEIGHTS = [0.4, 0.0005, 0.02, -0.01]


def tables() -> dict[str, Table]:
    """The declaration."""
    nowhere = Source(csv="postgresql://user:secret@host/x.csv")
    place = Column(
        type="string", allowed=["EWR", "JFK", "LGA"], nullable=False, description="Airport",
        example="EWR",
    )  # fmt: skip
    return {
        "trips": Table(
            source=nowhere,
            key=["due", "carrier"],
            time="due",
            description="A trip.",
            columns={
                "due": Column(type="datetime", example="2013-04-10T15:30:00Z"),
                "place": place,
                "carrier": Column(type="string", pattern="[A-Z0-9]{2}", example="UA"),
                "distance": Column(
                    type="int64", min=1, max=6000, unit="mile", nullable=False, example=1400,
                    description="Distance",
                ),
                "weight": Column(type="float64", max=1e6),
                "name": Column(type="string", personal=True, pattern="[a-z]+"),
                "first": Column(type="bool"),
                "booked": Column(type="date"),
                "delay": Column(type="int64", known_at="due + to_minutes(delay)"),
            },
        ),
        "carriers": Table(
            source=nowhere,
            key=["carrier"],
            columns={"carrier": Column(type="string"), "age": Column(type="int64")},
        ),
        "weather": Table(
            source=nowhere,
            time="hour",
            columns={"hour": Column(type="datetime"), "temp": Column(type="float64")},
        ),
    }  # fmt: skip


def model() -> bytes:
    """A logistic regression; an unknown number counts as 0, as -1 does for texts."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.array(WEIGHTS, dtype=np.float32)[:, None]
    nodes = [
        helper.make_node("IsNaN", ["x"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "x"], ["filled"]),
        helper.make_node("MatMul", ["filled", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "trips",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(WEIGHTS)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def write_payload(
    folder: Path, *, sql: str = SQL, declared: dict[str, Table] | None = None
) -> Path:
    """Write all files of a payload, unsigned."""
    (folder / "lookups").mkdir(parents=True)
    carriers = pl.DataFrame({"carrier": ["UA", "AA"], "age": [12, 30]})
    carriers.write_parquet(folder / "lookups" / "carriers.parquet")
    (folder / "model.onnx").write_bytes(model())
    decision = Decision("binary", "late", 0.6, ("not late", "late"))
    texts = {
        "encoding.json": Encoding.fit(FEATURES).to_json(),
        "calibration.json": Calibration("sigmoid", 0.9, 0.1).to_json(),
        "decision.json": decision.to_json(),
        "features.sql": sql,
        "plan.json": plan_file(sql),
        "online.json": json.dumps({"weather": {"path": "trips/online/weather", "key": []}}),
        "background.json": json.dumps(
            {"place": "JFK", "distance": 1000, "carrier_age": 15, "temp": 50.0}
        ),
        "model_card.md": "# Trips\n",
        **schema_files(declared or tables(), "trips"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def signed_payload(folder: Path, keys: Path, **changes: object) -> Path:
    """A payload as the asset `bundle` makes it."""
    write_payload(folder, **changes)  # type: ignore[arg-type]
    Signer(key_path=str(keys / "key.pem")).sign(folder, FACTS)
    return folder


def weather(temp: float = 50.0) -> pl.DataFrame:
    """Hourly observations until noon."""
    hours = [NOON - timedelta(hours=h) for h in range(12)]
    return pl.DataFrame(
        {"_row_id": range(12), "hour": hours, "temp": [temp] * 12},
        schema={"_row_id": pl.Int64, "hour": pl.Datetime("us", "UTC"), "temp": pl.Float64},
    )


def write_weather(lake: Path, temp: float = 50.0) -> None:
    """Put observations into a lake as a Delta table."""
    weather(temp).write_delta(str(lake / "trips/online/weather"), mode="overwrite")
