"""Are corrupted images and texts named as drift, and clean ones not?

Of each shipped product over images or texts the cleaned rows are split at random, five times. From
half of them comes what a bundle would hold: a model of the product's first family, the sketch of
what it makes of items, the profile of the numbers about them and of its scores on a quarter that it
did not learn from, the sketch of the table. The others are a partition that came later: once as it
is, which is the control, and once after each corruption of `lifecycle/corruptions`, at the middle
of five severities. The partition is measured, and a verdict is made, by the functions that the
assets `bundle`, `drift` and `verdict` call; labels have not arrived.

A corruption is named if the verdict is drift of inputs, or broken data. The weakest and the
strongest severities are reported without a goal: some of the weakest change nothing on 8 x 8
pixels. `python benchmarks/corruptions.py digit_reading` measures one product.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from figures import Figure, report

import ai_assets.products
from ai_assets.lifecycle.cleaning import CleaningCounts, clean
from ai_assets.lifecycle.corruptions import SEVERITIES, corrupt, corruptions_of
from ai_assets.lifecycle.drift.numbers import drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.items import described, described_table
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.product import ItemDeclaration, Product, read_product
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.lifecycle.sources import read_source
from ai_assets.lifecycle.training.fitting import declared_family, fit_model
from ai_assets.lifecycle.verdict.broken import Observed
from ai_assets.lifecycle.verdict.decide import Signals, decide_cause
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.lifecycle.verdict.sketch import TableSketch, table_sketch
from ai_assets.stages.embedding import FILE, embedding_file, embedding_line, importances_of

SEEDS = range(5)
SHARE_OF_REFERENCE, SHARE_TO_LEARN_FROM = 0.5, 0.75
MIDDLE, GOAL = 3, 0.9
NAMED = ("covariate_drift", "broken_data")


@dataclass(frozen=True)
class World:
    """One split: what a bundle would hold, and the rows that came later."""

    product: Product
    payload: Path
    encoding: Encoding
    model: Model
    table: TableSketch
    later: pl.DataFrame


@dataclass(frozen=True)
class Case:
    """One verdict; a control has no severity."""

    product: str
    seed: int
    corruption: str
    severity: int
    verdict: Verdict

    @property
    def named(self) -> bool:
        return self.verdict.cause in NAMED


def item_products(names: list[str]) -> list[Product]:
    """The shipped products over images or texts, or those of them that are named."""
    folder = Path(ai_assets.products.__path__[0])
    found = [read_product(file.parent) for file in sorted(folder.glob("*/defs.yaml"))]
    return [
        product
        for product in found
        if isinstance(product.declaration, ItemDeclaration)
        and product.name in (names or [product.name])
    ]


def rows_of(product: Product) -> pl.DataFrame:
    """The cleaned rows that have a label, and its number as `_label`."""
    declared, table = product.declaration, product.request_table
    raw = read_source(table.source, None, table=table, folder=product.folder)
    rows = clean(raw, table).good.sort("_row_id").collect()
    outcome = rows.sql(f"SELECT {declared.label.sql} AS outcome FROM self")["outcome"]
    numbers = [None if o is None else declared.number_of(str(o)) for o in outcome.to_list()]
    return rows.with_columns(pl.Series("_label", numbers, pl.Float64)).drop_nulls("_label")


def world(product: Product, rows: pl.DataFrame, seed: int, folder: Path) -> World:
    """Learn from a part of the rows, and write what a bundle would hold of it."""
    assert isinstance(product.declaration, ItemDeclaration)
    declared, table = product.declaration, product.request_table
    drawn = draws(rows, declared.training.split.group, seed)
    known = rows.filter(pl.Series(drawn < SHARE_OF_REFERENCE))
    learn = drawn[drawn < SHARE_OF_REFERENCE] < SHARE_OF_REFERENCE * SHARE_TO_LEARN_FROM
    features = known.select(declared.item)
    encoding = Encoding.fit(features, table.columns)
    classes = len(declared.classes) or None
    data = Dataset(
        encoding.transform(features), known["_label"].to_numpy(), None, encoding, classes
    )
    family = declared.training.families[0]
    params = declared_family(family, declared.training).defaults()
    model = fit_model(
        family, data.take(learn), data.take(~learn), params,
        training=declared.training, task=declared.label.task,
    )  # fmt: skip
    content = model.to_onnx()
    (folder / "model.onnx").write_bytes(content)
    sketch = embedding_file(content, encoding, features, declared.training.seed)
    if sketch:
        (folder / FILE).write_text(sketch, encoding="utf-8")
    watched = profile(described(features, table.columns))
    told = watched.with_columns(profile(scored(model, data.x[~learn], product)))
    (folder / "reference.json").write_text(told.to_json(), encoding="utf-8")
    own = table_sketch(
        described(known.drop("_label"), table.columns), described_table(table),
        timezone="UTC", rejected=0.0, duplicates=0.0,
    )  # fmt: skip
    later = rows.filter(pl.Series(drawn >= SHARE_OF_REFERENCE)).drop("_label")
    return World(product, folder, encoding, model, TableSketch.from_json(own.to_json()), later)


def draws(rows: pl.DataFrame, group: list[str], seed: int) -> np.ndarray:
    """A place among all from 0 to 1 for each row [n], one for all rows of a declared group.

    Places rather than chances: a half is then half of the rows, and enough of them to be judged.
    """
    random = np.random.default_rng(seed)
    if not group:
        return random.permutation(rows.height) / rows.height
    places = rows.select(pl.struct(group).rank("dense").alias("at"))["at"].to_numpy() - 1
    groups = int(places.max()) + 1
    return np.asarray(random.permutation(groups)[places] / groups)


def scored(model: Model, x: np.ndarray, product: Product) -> pl.DataFrame:
    """What is watched of the answers, as the stage `drift` names it."""
    declared, scores = product.declaration, model.predict(x)
    decision = Decision(declared.label.task, classes=declared.answers, costs=declared.costs)
    watched = pl.DataFrame({SCORED[0]: decision.confidence(scores)})
    if not declared.classes:
        return watched
    return watched.with_columns(pl.Series(SCORED[1], decision.answers(scores)))


def judge(world: World, later: pl.DataFrame) -> Verdict:
    """The verdict on rows that came later."""
    product = world.product
    assert isinstance(product.declaration, ItemDeclaration)
    declared, table = product.declaration, product.request_table
    features = later.select(declared.item)
    answers = scored(world.model, world.encoding.transform(features), product)
    seen = described(features, table.columns).hstack(answers.get_columns())
    text = (world.payload / "reference.json").read_text(encoding="utf-8")
    reference = Profile.from_json(text)
    line = embedding_line(world.payload, world.encoding, features, table.columns, declared.drift)
    numbers = drift_numbers(reference, seen, declared.drift).vstack(line)
    counts = CleaningCounts(later.height, later.height, 0, 0, {})
    whole = described(later, table.columns)
    observed = Observed(described_table(table), world.table, whole, counts)
    signals = Signals(
        tables={declared.request: observed},
        request=declared.request,
        features=numbers,
        joint=joint_drift(reference, seen, declared.drift),
        importances=importances_of(world.model.importances(), table.columns, numbers),
    )
    return decide_cause(
        product.name, None, "reference", signals, spec=declared.causes, drift=declared.drift
    )


def judged(product: Product) -> list[Case]:
    """The verdicts on the controls, and on every corruption in every severity."""
    assert isinstance(product.declaration, ItemDeclaration)
    item, rows = product.declaration.item, rows_of(product)
    column, found = product.request_table.columns[item], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            made = world(product, rows, seed, Path(folder))
            found.append(Case(product.name, seed, "control", 0, judge(made, made.later)))
            told(found[-1])
            for name in corruptions_of(column):
                for severity in SEVERITIES:
                    items = corrupt(made.later[item].to_list(), column, name, severity, seed)
                    changed = pl.Series(item, items, made.later.schema[item])
                    verdict = judge(made, made.later.with_columns(changed))
                    found.append(Case(product.name, seed, name, severity, verdict))
                    if severity == MIDDLE:
                        told(found[-1])
    return found


def told(case: Case) -> None:
    """Print one verdict; a wrong one is marked."""
    right = case.named == (case.severity > 0)
    mark = "  " if right else "✗ "
    print(
        f"{mark}{case.product} {case.seed} {case.corruption:15} {case.verdict.cause:16} "
        f"{case.verdict.severity:.2f}  {case.verdict.words[:180]}",
        flush=True,
    )


def figures(found: list[Case]) -> list[Figure]:
    """The goals, measured, and each severity."""
    of = {s: [c.named for c in found if c.severity == s] for s in (0, *SEVERITIES)}
    middle, false = of[MIDDLE], sum(of[0])
    share = sum(middle) / len(middle)
    made = [
        Figure(
            f"corruptions named, severity {MIDDLE} of 5", f"{sum(middle)} of {len(middle)}", "",
            None, f">= {GOAL:.0%}", share >= GOAL,
        ),
        Figure("clean controls named", f"{false} of {len(of[0])}", "", None, "0", not false),
    ]  # fmt: skip
    made += [
        Figure(f"corruptions named, severity {s}", f"{sum(of[s])} of {len(of[s])}", "", None,
               "reported", True)
        for s in SEVERITIES
        if s != MIDDLE
    ]  # fmt: skip
    return made


def main() -> int:
    """Measure; 1 if a goal is missed."""
    found = [case for product in item_products(sys.argv[1:]) for case in judged(product)]
    print()
    return report(figures(found))


if __name__ == "__main__":
    sys.exit(main())
