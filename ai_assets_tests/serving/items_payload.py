"""Small real payloads of the item kinds: pictures of 2 x 3 and texts of 8 tokens."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.learners.graphs import Graph, add_link
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import manifest_facts, plan_file, schema_files

ITEMS = {
    "image": ("photo", Column(type="image", size=(2, 3), nullable=False, description="A shelf")),
    "text": ("note", Column(type="text", tokens=8, max=40, nullable=False, description="A note")),
}
ANSWERS = ("none", "some")


def tables(kind: str) -> dict[str, Table]:
    """One table of one item, and beside it a number that may be left out."""
    name, column = ITEMS[kind]
    columns = {name: column, "number": Column(type="int64")}
    return {"things": Table(source=Source(csv="things.csv"), columns=columns)}


def model(width: int) -> bytes:
    """P(some) = 1 / (1 + exp(3 - sum of all that the model sees)): by hand in every test."""
    graph = Graph()
    total = graph.add("MatMul", "x", graph.constant(np.ones((width, 1), np.float32)))
    add_link(graph, "binary", graph.add("Sub", total, graph.constant(np.float32(3))))
    return graph.to_bytes(width, 1)


def signed_payload(folder: Path, keys: Path, kind: str) -> Path:
    """A payload as the asset `bundle` makes it."""
    (folder / "lookups").mkdir(parents=True)
    name, column = ITEMS[kind]
    value = bytes(6) if kind == "image" else "a note"
    encoding = Encoding.fit(pl.DataFrame({name: [value]}), {name: column})
    sql = f"SELECT r._row_id, r.{name} FROM request AS r\n"
    (folder / "model.onnx").write_bytes(model(encoding.width))
    texts = {
        "encoding.json": encoding.to_json(),
        "calibration.json": Calibration("sigmoid", 1.0, 0.0).to_json(),
        "decision.json": Decision("binary", "some", 0.5, ANSWERS).to_json(),
        "features.sql": sql,
        "plan.json": plan_file(sql),
        "online.json": "{}",
        "background.json": json.dumps({name: None}),
        "model_card.md": "# Things\n",
        **schema_files(tables(kind), "things"),
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    facts = manifest_facts(
        product="things", partition=None, description="Is anything on it?", task="binary",
        horizon=timedelta(0), created_from={"things": 1}, features_digest="abc", code_version="1",
    )  # fmt: skip
    Signer(key_path=str(keys / "key.pem")).sign(folder, facts)
    return folder
