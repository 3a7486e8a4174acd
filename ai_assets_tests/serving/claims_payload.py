"""A payload whose rows have a picture, a text and a number: what each adds is known by value."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import manifest_facts, plan_file, schema_files

SQL = "SELECT r._row_id, r.photo, r.remark, r.age FROM request AS r"
WIDTH, HEIGHT, TOKENS = 12, 10, 24
SLOPE, SHIFT, OF_AGE = 0.8, 0.1, 0.02
# Of a photo's pixels one bright spot speaks for the class, another against it.
SPOTS = {(2, 3): 1.5, (8, 10): -0.75}
WORDS = {"leak": 1.25, "roof": 0.5, "thanks": -0.5}
GROUND = 255.0
FACTS = manifest_facts(
    product="claims",
    partition=None,
    description="Is this claim urgent?",
    task="binary",
    horizon=timedelta(0),
    created_from={"claims": 1},
    features_digest="abc",
    code_version="1",
)


def tables(*, personal: bool = False) -> dict[str, Table]:
    """The declaration; photo and remark may be personal data."""
    columns = {
        "photo": Column(type="image", size=[HEIGHT, WIDTH], personal=personal),
        "remark": Column(type="text", tokens=TOKENS, example="The roof leaks", personal=personal),
        "age": Column(type="float64", example=3),
    }
    return {"claims": Table(source=Source(csv="claims.csv"), columns=columns)}


def photo(*bright: tuple[int, int]) -> list[list[int]]:
    """White paper with dark spots; those at `SPOTS` are what the model looks at."""
    drawn = np.full((HEIGHT, WIDTH), 255)
    for at in bright:
        drawn[at] = 0
    return drawn.tolist()


def encoding() -> Encoding:
    """Photo, remark, age."""
    frame = pl.DataFrame(
        {"photo": [bytes(HEIGHT * WIDTH)], "remark": ["a"], "age": [1.0]},
    )
    return Encoding.fit(frame, tables()["claims"].columns)


def model() -> bytes:
    """A logistic regression of dark spots, of words, and of the age; unknown is 0."""
    from onnx import TensorProto, helper, numpy_helper

    spots = np.zeros((HEIGHT, WIDTH), np.float32)
    for at, weight in SPOTS.items():
        spots[at] = -weight
    pixels, end = HEIGHT * WIDTH, HEIGHT * WIDTH + TOKENS
    said = np.zeros(len(json.loads(shipped_tokenizer())["model"]["vocab"]), np.float32)
    for word, weight in WORDS.items():
        said[token_ids(shipped_tokenizer(), [word], 4)[0, 1]] = weight
    constants = {
        "spots": spots.reshape(-1, 1),
        "said": said,
        "of_age": np.float32([[OF_AGE]]),
        "zero": np.zeros(1, np.float32),
        "axis": np.array([1]),
        **{f"at{n}": np.array([n]) for n in (0, pixels, end, end + 1)},
    }
    nodes = [
        helper.make_node("IsNaN", ["x"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "x"], ["filled"]),
        helper.make_node("Slice", ["filled", "at0", f"at{pixels}", "axis"], ["photo"]),
        helper.make_node("Slice", ["filled", f"at{pixels}", f"at{end}", "axis"], ["tokens"]),
        helper.make_node("Slice", ["filled", f"at{end}", f"at{end + 1}", "axis"], ["age"]),
        helper.make_node("Cast", ["tokens"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["said", "ids"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axis"], ["words"], keepdims=1),
        helper.make_node("MatMul", ["photo", "spots"], ["seen"]),
        helper.make_node("MatMul", ["age", "of_age"], ["old"]),
        helper.make_node("Sum", ["seen", "words", "old"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "claims",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, end + 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def signed_payload(folder: Path, keys: Path, *, personal: bool = False) -> Path:
    """A payload as the asset `bundle` makes it."""
    (folder / "lookups").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model())
    texts = {
        "encoding.json": encoding().to_json(),
        "calibration.json": Calibration("sigmoid", SLOPE, SHIFT).to_json(),
        "decision.json": Decision("binary", "urgent", 0.5, ("not urgent", "urgent")).to_json(),
        "features.sql": SQL,
        "plan.json": plan_file(SQL),
        "online.json": "{}",
        "background.json": json.dumps({"photo": [GROUND], "remark": None, "age": 10.0}),
        "model_card.md": "# Claims\n",
        **schema_files(tables(personal=personal), "claims"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    Signer(key_path=str(keys / "key.pem")).sign(folder, FACTS)
    return folder
