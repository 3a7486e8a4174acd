"""A scaffolded product against AutoGluon, on five public tables.

    make bench-automl                                  # all tables
    .venv/bin/python benchmarks/automl.py ames storms  # some

Both sides get the same three quarters of the rows as a CSV file and 120 s on two cores; the rest
judges. Ours is what `python -m ai_assets.scaffold` writes, without an edit, from raw data to a
signed bundle, asked through the command for files of rows; a row that it refuses counts as answered
by the mean, or by how common the classes are. The other side is AutoGluon's preset
`medium_quality`, told the metric, in an environment of its own below the state folder, which the
first run makes. One row: from the request's fields, checked, to the answer on our side; from a
frame of one row to the answer on theirs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from figures import Figure, report
from packed_tables import packed_table

REPOSITORY = Path(__file__).resolve().parent.parent
AUTOGLUON = "autogluon.tabular[lightgbm,catboost,xgboost,fastai]==1.6.3"
TORCH = "torch==2.13.0"
BUDGET_S = 120.0
SHARE_OF_TEST = 0.25
WITHIN = 0.01
FASTER = 20.0
AHEAD_ON = 2
ASKED = 100
STAGES = (
    "raw", "cleaned", "rejected", "labels", "features", "training_set", "tuning", "model",
    "compressed_model", "evaluation", "model_card", "bundle",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A public table, what is predicted of it, and the metric, as AutoGluon names it."""

    package: str
    name: str
    target: str
    metric: str


TABLES = (
    Table("modeldata", "wa_churn", "churn", "roc_auc"),
    Table("ISLR", "OJ", "Purchase", "roc_auc"),
    Table("modeldata", "ames", "Sale_Price", "root_mean_squared_error"),
    Table("modeldata", "concrete", "compressive_strength", "root_mean_squared_error"),
    Table("dplyr", "storms", "status", "accuracy"),
)


@dataclass(frozen=True)
class Side:
    """What one side reached: the metric, seconds until it could answer, and seconds of one row."""

    value: float
    seconds: float
    one_row: float


def main() -> int:
    """Measure the named tables, or all; 1 if a goal is missed."""
    asked = sys.argv[1:] or [table.name for table in TABLES]
    known = {table.name: table for table in TABLES}
    if unknown := [name for name in asked if name not in known]:
        raise SystemExit(f"A table must be one of {', '.join(known)}, but got {unknown[0]}.")
    python = peer_environment()
    figures: list[Figure] = []
    ahead = 0
    for name in asked:
        table = known[name]
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = compare(table, Path(folder), python)
        ahead += gain(table, ours.value, theirs.value) > 0
        figures += rows_of(table, ours, theirs)
        print(f"{name}: ours {ours}, AutoGluon {theirs}", flush=True)
    if len(asked) == len(TABLES):
        goal = f"at least {AHEAD_ON}"
        figures.append(Figure("ahead on tables", str(ahead), "", None, goal, ahead >= AHEAD_ON))
    return report(figures)


def peer_environment() -> Path:
    """The Python of the environment with AutoGluon, made if it is not there."""
    home = Path(os.environ.get("AI_ASSETS_HOME") or REPOSITORY / ".state") / "autogluon"
    python = home / "bin" / "python"
    if not (home / "made").is_file():
        print("Making an environment with AutoGluon; about 2 GB", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, TORCH], check=True)
        subprocess.run([*install, AUTOGLUON], check=True)
        (home / "made").touch()
    return python


def compare(table: Table, folder: Path, python: Path) -> tuple[Side, Side]:
    """Both sides on the same rows, one after another."""
    frame = packed_table(table.package, table.name)
    test = np.random.default_rng(0).random(len(frame)) < SHARE_OF_TEST
    train_file, test_file = folder / f"{table.name}.csv", folder / "test.csv"
    frame[~test].to_csv(train_file, index=False)
    frame[test].to_csv(test_file, index=False)
    theirs = other_side(table, train_file, test_file, folder, python)
    return our_side(table, train_file, test_file, folder), theirs


def other_side(table: Table, train: Path, test: Path, folder: Path, python: Path) -> Side:
    """AutoGluon, in a process of its own environment."""
    script = str(Path(__file__).with_name("automl_peer.py"))
    made = folder / "autogluon"
    files = [str(train), str(test), table.target, table.metric, str(BUDGET_S), str(made)]
    done = subprocess.run([str(python), script, *files], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"AutoGluon failed on {table.name}:\n{done.stderr[-4000:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    answers = pl.read_csv(made / "answers.csv", infer_schema_length=None)
    outcomes = outcomes_of(table, test)
    if table.metric == "accuracy":
        said = pl.Series(np.array(answers.columns)[answers.to_numpy().argmax(axis=1)])
        value = float((said == outcomes).sum()) / len(outcomes)
    else:
        value = judged(table, outcomes, answers[:, -1].to_numpy())
    return Side(value, told["seconds"], told["one_row"])


def our_side(table: Table, train: Path, test: Path, folder: Path) -> Side:
    """What the scaffolder writes, from raw data to a bundle, and its answers to the test file."""
    os.environ["AI_ASSETS_HOME"] = str(folder / "state")
    began = time.perf_counter()
    product = table.name.lower()
    asked = ["--data", str(train), "--target", table.target, "--products", str(folder)]
    command = [sys.executable, "-m", "ai_assets.scaffold", product, *asked]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    bundle = materialized(folder / product)
    seconds = time.perf_counter() - began
    out = folder / "answers.parquet"
    batch = [sys.executable, "-m", "ai_assets.serving.batch", "--bundle", str(bundle)]
    done = subprocess.run([*batch, str(test), str(out)], cwd=REPOSITORY, capture_output=True)
    if not out.is_file():
        raise SystemExit(f"The bundle of {table.name} failed:\n{done.stderr.decode()[-4000:]}")
    outcomes, answers = outcomes_of(table, test), pl.read_parquet(out)
    return Side(value_of(table, train, outcomes, answers), seconds, one_row(bundle))


def materialized(folder: Path) -> Path:
    """The payload of the product's bundle, its stages run one after another."""
    from ai_assets.lifecycle.product import read_product
    from ai_assets.resources import default_resources
    from ai_assets.stages import stages_of
    from ai_assets.stages.binding import StageRun, Tools

    product = read_product(folder)
    tools = Tools(**{n: r for n, r in default_resources().items() if n in Tools.__annotations__})
    chosen = [stage for stage in stages_of(product) if stage.stage in STAGES]
    # The choice of a model comes after the families, which have its stage too.
    for stage in sorted(chosen, key=lambda s: (STAGES.index(s.stage), s.asset == "model")):
        for outcome in stage.outcomes([StageRun(product, None, tools)]):
            failed = [
                f"{stage.asset}: {f.words}" for f in outcome.findings.values() if not f.passed
            ]
            print(*failed, sep="\n", end="\n" if failed else "")
    (tag,) = tools.bundles.list()
    return tools.bundles.payload(tag)


def value_of(table: Table, train: Path, outcomes: pl.Series, answers: pl.DataFrame) -> float:
    """The metric over all test rows, those that were refused among them."""
    place = answers["_row"].to_numpy()
    if table.metric == "accuracy":
        return float((answers["label"] == outcomes[place]).sum()) / len(outcomes)
    learned = outcomes_of(table, train)
    name = "value" if "value" in answers.columns else "probability"
    if table.metric == "roc_auc":
        filled = np.full(len(outcomes), float((learned == positive(learned)).mean()))
    else:
        filled = np.full(len(outcomes), learned.cast(pl.Float64).to_numpy().mean())
    filled[place] = answers[name].to_numpy()
    return judged(table, outcomes, filled)


def judged(table: Table, outcomes: pl.Series, answers: np.ndarray) -> float:
    """ROC-AUC, or the root of the mean squared error."""
    from sklearn.metrics import roc_auc_score

    if table.metric == "roc_auc":
        return float(roc_auc_score((outcomes == positive(outcomes)).to_numpy(), answers))
    return float(np.sqrt(np.mean((answers - outcomes.cast(pl.Float64).to_numpy()) ** 2)))


def positive(outcomes: pl.Series) -> Any:
    """The word that sorts last, which is the rarer one of these tables too."""
    return outcomes.unique().sort()[-1]


def outcomes_of(table: Table, file: Path) -> pl.Series:
    """What is predicted, of each row of a file."""
    return pl.read_csv(file, columns=[table.target], infer_schema_length=None)[table.target]


def one_row(bundle: Path) -> float:
    """Median seconds from a request's fields to its answer."""
    from ai_assets.serving.bundle import load_bundle
    from ai_assets.serving.request import RequestReader
    from ai_assets.serving.scoring import Scorer

    loaded = load_bundle(bundle)
    reader, scorer = RequestReader(loaded, max_rows=1), Scorer(loaded)
    fields = reader.example()
    waits = []
    for _ in range(ASKED):
        began = time.perf_counter()
        scorer.predict(reader.frame([reader.model.model_validate(fields)]))
        waits.append(time.perf_counter() - began)
    return median(waits)


def gain(table: Table, ours: float, theirs: float) -> float:
    """By which part of theirs ours is better."""
    larger_is_better = table.metric != "root_mean_squared_error"
    return (ours - theirs) / theirs * (1 if larger_is_better else -1)


def rows_of(table: Table, ours: Side, theirs: Side) -> list[Figure]:
    """Quality, time and one row of a table."""
    better = gain(table, ours.value, theirs.value)
    slower = theirs.one_row / ours.one_row
    return [
        Figure(
            f"{table.name}, {table.metric}", f"{ours.value:.5g}", f"{theirs.value:.5g}, AutoGluon",
            ours.value / theirs.value, f"within 1 % (is {better:+.1%})", better >= -WITHIN,
        ),
        Figure(
            f"{table.name}, file to a model that answers", f"{ours.seconds:.0f} s",
            f"{theirs.seconds:.0f} s", None, f"<= {BUDGET_S:.0f} s", ours.seconds <= BUDGET_S,
        ),
        Figure(
            f"{table.name}, one row", f"{ours.one_row * 1e3:.2f} ms",
            f"{theirs.one_row * 1e3:.1f} ms", slower, f">= {FASTER:.0f}x", slower >= FASTER,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
