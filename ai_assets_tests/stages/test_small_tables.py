"""Tables of 30 and of 150 rows: whole lives, judged by cross-validation, with costs of answers."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient
from small_product import World, failure, finding

from ai_assets.lifecycle.evaluation.metrics import metric_value
from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings
from ai_assets.stages.evaluation import crossed_scores, decision_of
from ai_assets.stages.model_card import read_evaluation
from ai_assets.stages.training_data import artifact, load_training_data, read_json

SPECIES = ("setosa", "versicolor", "virginica")
PETALS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
MEASURED = ("radius", "texture", "smoothness", "concavity")
RELEASED = (
    "raw", "cleaned", "rejected", "labels", "features", "training_set", "tuning", "model",
    "compressed_model", "evaluation", "model_card", "bundle", "gate", "release",
)  # fmt: skip


def declared(names: tuple[str, ...], label: dict[str, Any], **training: Any) -> dict[str, Any]:
    target: dict[str, Any] = {"type": "string", "known_at": "NULL"}
    if "classes" in label:
        target["allowed"] = label.pop("classes")
    return {
        "description": "What is this one?",
        "request": "things",
        "tables": {
            "things": {
                "source": {"csv": "things.csv"},
                "key": ["number"],
                "columns": {
                    "number": {"type": "int64"},
                    **{name: {"type": "float64"} for name in names},
                    "kind": target,
                },
            }
        },
        "label": label,
        "training": {
            "families": ["linear", "lightgbm", "mlp"],
            "tune": {"trials": 2, "folds": 2},
            "split": {"repeats": 2},
            "threads": 1,
            **training,
        },
        "gate": {"min": {"accuracy": 0.6}},
    }


def written(folder: Path, content: dict[str, Any], frame: pl.DataFrame) -> World:
    folder.mkdir(parents=True)
    attributes = {"type": "ai_assets.components.TabularProduct", "attributes": content}
    (folder / "defs.yaml").write_text(yaml.safe_dump(attributes, sort_keys=False), encoding="utf-8")
    names = [name for name in frame.columns if name not in ("number", "kind")]
    query = f"SELECT r._row_id, {', '.join(f'r.{name}' for name in names)} FROM request AS r\n"
    (folder / "features.sql").write_text(query, encoding="utf-8")
    frame.write_csv(folder / "things.csv")
    return World.of(folder, folder.parent / f"{folder.name}_home")


def released(world: World) -> World:
    world.runs["all"] = world.run(*(n for n in world.stages if n.split("/")[0] in RELEASED))
    return world


def tumours(rows: int) -> pl.DataFrame:
    """Real tumours, a third of them malignant."""
    from sklearn.datasets import load_breast_cancer

    given = load_breast_cancer()
    bad, good = np.flatnonzero(given.target == 0), np.flatnonzero(given.target == 1)
    taken = np.concatenate([bad[: rows // 3], good[: rows - rows // 3]])
    columns = {name: given.data[taken, at] for name, at in zip(MEASURED, (0, 1, 4, 6), strict=True)}
    kinds = ["malignant" if given.target[row] == 0 else "benign" for row in taken]
    return pl.DataFrame({"number": range(rows), **columns, "kind": kinds})


OF_TUMOURS = {"sql": "kind = 'malignant'", "positive": "malignant", "negative": "benign"}


@pytest.fixture(scope="module")
def thirty(tmp_path_factory: pytest.TempPathFactory) -> World:
    content = declared(MEASURED, dict(OF_TUMOURS), costs={"missed": 5, "false_alarm": 1})
    return released(written(tmp_path_factory.mktemp("few") / "tumours", content, tumours(30)))


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> World:
    from sklearn.datasets import load_iris

    given = load_iris()
    columns = {name: given.data[:, at] for at, name in enumerate(PETALS)}
    kinds = [SPECIES[number] for number in given.target]
    frame = pl.DataFrame({"number": range(150), **columns, "kind": kinds})
    label = {"sql": "kind", "task": "multiclass", "classes": list(SPECIES)}
    costs = {"virginica": {"versicolor": 25}}
    content = declared(PETALS, label, costs=costs)
    return released(written(tmp_path_factory.mktemp("iris") / "iris", content, frame))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> World:
    luck = np.random.default_rng(7)
    hour, holiday = luck.uniform(0, 24, 200), luck.random(200) < 0.2
    expected = np.exp(0.4 + 0.9 * np.sin(hour / 24 * np.pi) - 1.2 * holiday)
    content = declared(
        ("hour", "holiday"), {"sql": "kind", "task": "regression", "objective": "poisson"}
    )
    content["label"]["interval"] = 0.8
    content["tables"]["things"]["columns"]["kind"] = {"type": "int64", "known_at": "NULL"}
    content["gate"] = {"max": {"poisson_deviance": 2.0}, "min": {"coverage": 0.7}}
    frame = pl.DataFrame(
        {"number": range(200), "hour": hour, "holiday": holiday * 1.0}
    ).with_columns(kind=luck.poisson(expected))
    return released(written(tmp_path_factory.mktemp("calls") / "calls", content, frame))


def test_counts_are_learned_judged_and_answered_as_counts(calls: World) -> None:
    found = read_evaluation(calls.step("model_card"))
    deviance = found.metrics["poisson_deviance"]
    # What is Poisson has a deviance of about 1 under its own mean.
    assert 0.8 < deviance.value < 1.5
    assert deviance.value < found.constant["poisson_deviance"]
    passed, words = finding(calls.runs["all"], "better_than_the_mean")
    assert passed and words.startswith("Poisson deviance ")
    assert "has poisson_deviance" in calls.metadata("model")["why"]
    assert finding(calls.runs["all"], "within_limits")[0]
    assert finding(calls.runs["all"], "answers_like_the_model")[0]
    rows = calls.rows("cleaned/things").select("number", "hour", "holiday").to_dicts()
    answers = ask(calls, rows[:20]) + ask(calls, [{**rows[0], "hour": -1e6, "holiday": 1e6}])
    of_one = decision_of(calls.step("evaluation")).interval.half_width
    for answer in answers:
        low, high = answer["interval"]
        half = of_one * answer["label"] ** 0.5
        assert answer["label"] >= 0
        assert low == pytest.approx(max(0.0, answer["label"] - half), rel=1e-6)
        assert high == pytest.approx(answer["label"] + half, rel=1e-6)
    assert any(answer["interval"][0] == 0 for answer in answers)


@pytest.fixture(params=["thirty", "iris"])
def small(request: pytest.FixtureRequest) -> World:
    found: World = request.getfixturevalue(request.param)
    return found


def test_no_row_is_set_aside(small: World) -> None:
    rows = small.rows("training_set")
    assert rows["split"].unique().to_list() == ["crossed"]
    passed, words = finding(small.runs["all"], "each_row_in_one_split")
    assert passed and words == f"{rows.height} rows, too few to set some aside: all teach."


def test_figures_are_means_of_repeats_by_models_that_had_not_seen_the_row(small: World) -> None:
    step = small.step("evaluation")
    data, decision = load_training_data(step), decision_of(step)
    repeats = crossed_scores(step)
    found = read_evaluation(small.step("model_card"))
    assert (len(repeats), found.rows) == (2, data.rows.height)
    for name in ("log_loss", "brier"):
        each = [metric_value(name, data.whole.y, p) for p in repeats]
        assert found.metrics[name].value == pytest.approx(np.mean(each))
    right = [np.mean(decision.codes(p) == data.whole.y) for p in repeats]
    accuracy = found.metrics["accuracy"]
    assert accuracy.value == pytest.approx(np.mean(right))
    assert accuracy.low < accuracy.value <= accuracy.high
    assert small.metadata("evaluation")["accuracy"] == accuracy.value
    # In-sample the model is better than what is told of it.
    scores = repeats[0]
    served = small.tools.bundles.load(released_tag(small))
    again = served.decision.confidence(served_scores(small, data.features()))
    assert not np.allclose(served.decision.confidence(scores), again)


def released_tag(world: World) -> str:
    tag: str = world.tools.ledger.history(world.product.name)["stable"][0]
    return tag


def served_scores(world: World, features: pl.DataFrame) -> np.ndarray:
    from ai_assets.stages.evaluation import scores_of

    return scores_of(world.tools.bundles.load(released_tag(world)), features)


def test_page_and_card_say_how_uncertain_it_is_and_what_is_not_judged(small: World) -> None:
    rows = small.rows("training_set").height
    page = small.metadata("evaluation")["judged"]
    for words in (
        f"{rows} rows are too few to set some aside",
        "2 × 5-fold cross-validation",
        "had not learned from it",
        "somewhat too good",
        "is itself not judged",
    ):
        assert words in page
    card = small.metadata("model_card")["card"]
    assert page in card
    assert "which nothing else used" not in card and "test rows" not in card


def test_thirty_rows_tell_less_than_a_hundred_and_fifty(thirty: World, iris: World) -> None:
    def width(world: World) -> float:
        found = read_evaluation(world.step("model_card")).metrics["brier"]
        return float(found.high - found.low)

    assert width(thirty) > 2 * width(iris) > 0


def test_families_compete_on_all_rows_and_what_is_served_learned_from_all(small: World) -> None:
    winner = read_json(artifact(small.step("model"), "model"), "winner.json")
    rows = small.rows("training_set").height
    assert f"on {rows} held-out rows" in winner["why"]
    assert {"linear", "lightgbm", "mlp"} <= {row["family"] for row in winner["families"]}
    assert "learned from all rows" in small.metadata("model")["refit"]
    assert small.metadata("compressed_model")["served"] == "onnx"


def test_the_gate_stands_on_the_cross_validation(small: World) -> None:
    passed, words = finding(small.runs["all"], "within_limits")
    assert passed and words == "Passed: the one limit is met."
    found = read_evaluation(small.step("model_card")).metrics["accuracy"].value
    gate = read_json(artifact(small.step("gate"), "gate"), "gate.json")
    assert gate["limits"][0]["value"] == found


def ask(world: World, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    settings = Settings(lake=str(world.home / "lake"), access="open")
    payload = world.tools.bundles.payload(released_tag(world))
    here: dict[str, Any] = {"client": ("127.0.0.1", 50000), "headers": {"Host": "localhost"}}
    with TestClient(create_app(payload, settings), **here) as client:
        told = client.post("/predict", json=rows).json()
    assert "predictions" in told, told
    found: list[dict[str, Any]] = told["predictions"]
    return found


def test_a_missed_tumour_costs_five_alarms_so_a_sixth_is_enough(thirty: World) -> None:
    decision = decision_of(thirty.step("evaluation"))
    assert decision.threshold == pytest.approx(1 / 6)
    assert decision.costs == ((0.0, 1.0), (5.0, 0.0))
    why = thirty.metadata("compressed_model")["threshold_why"]
    assert why.startswith("least expected cost; on 30 validation rows")
    rows = thirty.rows("cleaned/things").select("number", *MEASURED).to_dicts()
    answers = ask(thirty, rows)
    assert len({answer["label"] for answer in answers}) == 2
    for answer in answers:
        assert answer["threshold"] == decision.threshold
        expected = "malignant" if answer["probability"] >= 1 / 6 else "benign"
        assert answer["label"] == expected


def test_the_page_sets_the_cost_beside_that_of_one_answer_to_all(thirty: World) -> None:
    found = read_evaluation(thirty.step("model_card"))
    table = {row["answered"]: row for row in found.costs.to_dicts()}
    assert table["always benign"]["cost"] == pytest.approx(5 * 10 / 30)
    assert table["always malignant"]["cost"] == pytest.approx(20 / 30)
    assert found.metrics["cost"].value == pytest.approx(table["as served"]["cost"])
    passed, words = finding(thirty.runs["all"], "cheaper_than_one_answer")
    assert passed == (table["as served"]["cost"] < 20 / 30)
    assert "always malignant 0.6667 (" in words
    card = thirty.metadata("model_card")["card"]
    assert "What answers cost" in card and "| always benign | 1.667 |" in card


def test_of_classes_the_served_answer_is_that_of_the_least_expected_cost(iris: World) -> None:
    decision = decision_of(iris.step("evaluation"))
    costs = np.array([[0, 1, 1], [1, 0, 1], [1, 25, 0]])
    assert np.array_equal(np.array(decision.costs), costs)
    rows = iris.rows("cleaned/things").select("number", *PETALS).to_dicts()
    answers = ask(iris, rows[:20] + rows[50:64] + rows[100:114]) + ask(iris, rows[64:100])
    moved = 0
    for answer in answers:
        likely = np.array([answer["probabilities"][name] for name in SPECIES])
        expected = SPECIES[int((likely @ costs).argmin())]
        assert answer["label"] == expected
        assert answer["probability"] == answer["probabilities"][expected]
        moved += expected != SPECIES[int(likely.argmax())]
    # Some versicolor is a virginica too likely for what that would cost.
    assert moved >= 1
    assert "The answer is that of the least expected cost" in iris.metadata("model_card")["card"]


def test_explanations_are_of_the_answer_that_is_given(iris: World) -> None:
    rows = iris.rows("cleaned/things").select("number", *PETALS).to_dicts()[50:100]
    bundle = iris.tools.bundles.load(released_tag(iris))
    from ai_assets.serving.explain import Explainer
    from ai_assets.serving.scoring import Scorer

    scorer = Scorer(bundle)
    features = pl.DataFrame(rows).select(PETALS)
    told = [one.content()["label"] for one in Explainer(scorer).explain_features(features)]
    assert told == scorer.score_features(features).label


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (tumours(9), "needs at least 10 labelled rows (or groups of rows) for a cross-validation"),
        (
            tumours(30).filter((pl.col("kind") == "benign") | (pl.col("number") == 0)),
            "at least two labelled rows (or groups of rows) of each class, but of 'malignant'",
        ),
        (tumours(30).clear(), "no labelled rows, for there are no rows of 'things': look at its"),
        (
            tumours(30).with_columns(kind=pl.lit(None, pl.String)),
            "no labelled rows; of 30 rows label.sql gave only nulls",
        ),
    ],
    ids=["too few", "one of a class", "no rows", "no labels"],
)
def test_too_little_for_a_cross_validation_is_told(
    tmp_path: Path, rows: pl.DataFrame, words: str
) -> None:
    world = written(tmp_path / "tumours", declared(MEASURED, dict(OF_TUMOURS)), rows)
    world.run("raw/things", "cleaned/things", "rejected/things", "labels", "features")
    assert words in failure(world.run("training_set", raises=False))


def test_rows_enough_are_set_aside_as_ever(tmp_path: Path) -> None:
    content = declared(MEASURED, dict(OF_TUMOURS))
    content["training"]["split"] = {"least_test": 20}
    world = written(tmp_path / "tumours", content, tumours(300))
    names = ("raw/things", "cleaned/things", "rejected/things", "labels", "features")
    world.run(*names, "training_set")
    assert set(world.rows("training_set")["split"]) == {"train", "validation", "test"}
