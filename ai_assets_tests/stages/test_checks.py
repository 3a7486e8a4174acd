"""Each check of a stage both ways: what lets it pass, what makes it fail, and in which words."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from small_product import APRIL, FEBRUARY, JANUARY, World, failure, finding, write_product

from ai_assets.lifecycle.cleaning import CleaningCounts
from ai_assets.lifecycle.compression.candidates import Measurement
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.recipes import Candidate
from ai_assets.lifecycle.evaluation.evaluate import evaluate
from ai_assets.lifecycle.learners.base import Model, Task
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.stages.binding import Finding, Guard, Outcome
from ai_assets.stages.bundle import small, verified
from ai_assets.stages.cleaned import accounted, limit_of, within_limit
from ai_assets.stages.compressed_model import budget, parity
from ai_assets.stages.delivery import has_rows, not_shrunk
from ai_assets.stages.drift import no_drift
from ai_assets.stages.evaluation import better_than_base_rate
from ai_assets.stages.features import no_late_columns, nothing_too_early
from ai_assets.stages.model import load_models
from ai_assets.stages.reporting import _summary
from ai_assets.stages.training_data import load_training_data
from ai_assets.stages.training_set import splits_apart

DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits")


def ran(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.step_key for event in result.get_step_success_events()}


def test_has_rows() -> None:
    assert has_rows("orders", JANUARY, 3).words == "orders has 3 rows for 2024-01-01."
    empty = has_rows("shops", None, 0)
    assert (empty.passed, empty.warn, empty.words) == (False, True, "shops has no rows.")


@pytest.mark.parametrize(
    ("rows", "before", "words"),
    [
        (400, None, "Nothing was delivered before."),
        (400, 0, "Nothing was delivered before."),
        (1_300, 1_200, "orders has 1,300 rows; the delivery before had 1,200."),
        (1_080, 1_200, "orders has 1,080 rows; the delivery before had 1,200."),
    ],
)
def test_a_delivery_of_about_as_many_rows_is_no_news(
    rows: int, before: int | None, words: str
) -> None:
    assert not_shrunk(f"orders has {rows:,} rows", rows, before) == Finding(True, words)


def test_a_delivery_that_lacks_more_than_a_tenth_is_told() -> None:
    found = not_shrunk("orders has 1,079 rows of 2024-01-01", 1_079, 1_200)

    words = (
        "orders has 1,079 rows of 2024-01-01; the delivery before had 1,200. 10% fewer may be a "
        "file that was cut off. What was made of those before goes as this is cleaned."
    )
    assert found == Finding(False, words, {"rows": 1_079, "rows_before": 1_200}, warn=True)


def test_of_an_empty_delivery_it_is_not_said_that_it_was_cut_off() -> None:
    found = not_shrunk("orders has 0 rows", 0, 1_200)

    words = "orders has 0 rows; the delivery before had 1,200."
    assert found == Finding(False, words, {"rows": 0, "rows_before": 1_200}, warn=True)


def test_a_range_tells_a_check_of_all_its_partitions_in_one_sentence() -> None:
    guard = Guard("has_rows", "There are rows.")
    none = has_rows("orders", JANUARY, 0)
    outcomes = {key: Outcome("v", {}, {"has_rows": none}) for key in (JANUARY, FEBRUARY)}

    told = _summary(guard, outcomes)

    words = none.words.removesuffix(".")
    assert none.words.endswith(".")
    assert told.description == f"{JANUARY}: {words}; {FEBRUARY}: {words}."


def test_every_row_accounted_for() -> None:
    assert accounted(10, 7, 2, 1).passed
    lost = accounted(10, 7, 1, 1)
    assert not lost.passed
    assert lost.words == "10 raw = 7 cleaned + 1 rejected + 1 duplicates, but 1 rows are missing"


@pytest.mark.parametrize(
    ("rejected", "good", "personal", "kept"),
    [(60, 40, False, 100), (1, 99, False, 0), (60, 100, False, 0), (60, 40, True, 0)],
    ids=["too many", "few", "as many good ones", "treated columns"],
)
def test_rows_cleaned_before_stay_where_a_delivery_would_take_them(
    rejected: int, good: int, personal: bool, kept: int
) -> None:
    column = {"type": "string", **({"personal": "hash"} if personal else {})}
    table = Table.model_validate({"source": {"csv": "x.csv"}, "columns": {"name": column}})
    counts = CleaningCounts(rejected + good, good, rejected, 0, {"wrong": rejected})

    found = limit_of(counts, table, before=100)

    assert found.metadata.get("rows_kept", 0) == kept
    assert (" The 100 rows cleaned before stay" in found.words) == bool(kept)


def test_few_rows_rejected() -> None:
    assert within_limit(1, 100, 0.01).passed
    many = within_limit(2, 100, 0.01)
    assert not many.passed
    assert many.words == "2 of 100 rows (2.00%) were rejected; at most 1.00% may be."
    assert within_limit(2, 100, 0.01, ["n is not an int64"]).words.endswith(
        "at most 1.00% may be. Most: n is not an int64."
    )
    assert "Most" not in within_limit(1, 100, 0.01, ["n is not an int64"]).words


def test_many_rejected_rows_stop_the_run_before_anything_is_learned_from_the_rest(
    tmp_path: Path,
) -> None:
    folder = write_product(tmp_path / "late_orders")
    file = folder / "orders" / "2024-01.csv"
    rows = pl.read_csv(file, infer_schema=False)
    bad = pl.int_range(pl.len()) % 10 == 0
    rows.with_columns(weight=pl.when(bad).then(pl.lit("-1")).otherwise("weight")).write_csv(file)
    world = World.of(folder, tmp_path / "home")

    result = world.run(
        "raw/orders", "cleaned/orders", "rejected/orders", "labels", partition=JANUARY, raises=False
    )

    assert not result.success
    passed, words = finding(result, "few_rows_rejected")
    assert not passed and "of 602 rows (10.30%) were rejected; at most 1.00%" in str(words)
    assert ran(result) == {"late_orders__raw__orders"}
    assert finding(result, "every_row_accounted_for")[0]
    # What was rejected is kept, with the rule, for the person who has to look.
    rejected = world.rows("rejected/orders", JANUARY)
    assert rejected.filter(pl.col("weight") == "-1")["_rule"].str.contains("weight").all()


def test_no_late_column_of_the_request() -> None:
    assert no_late_columns({}).passed
    late = no_late_columns({"hurry": ["delay"]})
    assert (late.passed, late.words) == (False, "hurry reaches delay")


def test_nothing_known_too_early() -> None:
    assert nothing_too_early([]).words == "Values not yet known do not reach any feature."


@pytest.mark.parametrize(
    ("sql", "check", "words"),
    [
        (
            "SELECT _row_id, weight, delay + 1 AS hurry FROM request",
            "no_late_column_of_the_request",
            "hurry reaches delay",
        ),
        (
            "SELECT _row_id, weight, (SELECT max(load) FROM visits) AS fullest FROM request",
            "nothing_known_too_early",
            "Known too early: fullest changed in",
        ),
        (
            "SELECT _row_id, weight, lead(weight) OVER (ORDER BY placed) AS next FROM request",
            "nothing_known_too_early",
            "has what was known before): next changed in",
        ),
    ],
)
def test_a_feature_from_the_future_stops_the_run(
    copied: World, sql: str, check: str, words: str
) -> None:
    (copied.product.folder / "features.sql").write_text(sql, encoding="utf-8")
    name = copied.product.asset("features")
    shutil.rmtree(copied.tools.lake.uri(name))

    result = copied.run("features", "labels", "training_set", partition=JANUARY, raises=False)

    assert not result.success
    passed, said = finding(result, check)
    assert not passed and words in str(said)
    assert "late_orders__training_set" not in ran(result)


def split_frame(splits: list[str], days: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"_row_id": range(len(splits)), "split": splits, "event_time": days})


def test_each_row_in_one_split() -> None:
    rows = split_frame(["train", "validation", "test"], [1, 2, 3])

    assert splits_apart(rows, by_time=True).words == "3 rows, each in one split, in order of time."
    twice = splits_apart(pl.concat([rows, rows.head(1)]), by_time=True)
    assert (twice.passed, twice.words) == (False, "1 rows occur more than once.")
    absent = splits_apart(rows.head(1), by_time=True)
    assert (absent.passed, absent.words) == (False, "There are no rows in validation, test.")
    mixed = split_frame(["train", "validation", "test"], [2, 2, 3])
    assert splits_apart(mixed, by_time=True).words == (
        "A split begins before the one before it has ended."
    )
    assert splits_apart(mixed, by_time=False).passed


@dataclass
class Shifted:
    """A model that answers a little differently from the one it was made of."""

    model: Model

    @property
    def task(self) -> Task:
        return self.model.task

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x) + 0.01


def test_answers_like_the_model(shared_world: World) -> None:
    run = shared_world.step("compressed_model", FEBRUARY)
    held_out = HeldOut(load_training_data(run).split("validation"))
    model, _ = load_models(run)
    onnx = Candidate("onnx", "linear", model.to_onnx(), model, "")
    other = Candidate("onnx", "linear", model.to_onnx(), Shifted(model), "")  # type: ignore[arg-type]
    quantized = Candidate("int8", "linear", model.to_onnx(), None, "")

    assert parity(onnx, onnx, held_out).passed
    assert parity(quantized, quantized, held_out).passed
    for judged, shipped in [(other, onnx), (onnx, other)]:
        broken = parity(judged, shipped, held_out)
        assert not broken.passed
        assert "by at most 1.0e-02 over 180 rows, beyond the tolerance" in broken.words


def test_within_budget(shared_world: World) -> None:
    run = shared_world.step("compressed_model", FEBRUARY)
    kept = Measurement("onnx", 1000, 0.1, 0.2, 0.4, 0.001, 0.0, 0.0)
    lost = Measurement("int8", 1000, 0.1, 0.2, 0.4, 0.1, 0.0, 0.0)

    assert budget(run, kept).passed
    found = budget(run, lost)
    assert (found.passed, found.words) == (False, "int8: metric loss 0.1 above 0.005.")
    assert found.metadata["metric_loss"] == 0.1


def test_better_than_the_base_rate() -> None:
    y = np.tile([1.0, 0.0, 0.0, 0.0], 50)
    frame = pl.DataFrame({"shop": ["east"] * 200})

    good = better_than_base_rate(evaluate(frame, y, 0.1 + 0.8 * y, 0.5, [], seed=0))
    bad = better_than_base_rate(evaluate(frame, y, 0.9 - 0.8 * y, 0.5, [], seed=0))

    assert good.passed and not bad.passed
    assert good.words == "log loss 0.1054; always answering 25.0% would have 0.5623"


def test_signature_verifies(copied: World) -> None:
    store = copied.tools.bundles
    (tag,) = store.tags("late_orders")[:1]

    whole = verified(store, tag)
    (store.payload(tag) / "model_card.md").write_text("All is well.", encoding="utf-8")
    changed = verified(store, tag)

    assert (whole.passed, changed.passed) == (True, False)
    assert f"files verify as {tag}." in whole.words
    assert changed.words == "model_card.md was changed after the bundle was signed."


def test_small() -> None:
    assert small(19_999_999).passed
    assert (small(20_000_000).passed, small(20_000_000).words) == (False, "The bundle has 20.0 MB.")


def test_a_gate_that_is_not_passed_stops_the_release_of_its_run_and_of_later_ones(
    copied: World,
) -> None:
    write_product(copied.product.folder, gate={"min": {"roc_auc": 0.9999}})
    strict = World.of(copied.product.folder, copied.home)
    before = strict.tools.ledger.history("late_orders")
    strict.run("model_card", "bundle", partition=FEBRUARY)

    together = strict.run("gate", "release", partition=FEBRUARY, raises=False)
    passed, words = finding(together, "within_limits")
    assert not together.success and not passed
    assert "1 of 1 limits not met: roc_auc must be at least 0.9999, but is 0." in str(words)
    assert not {key for key in ran(together) if "release" in str(key)}

    tag = strict.metadata("bundle", FEBRUARY)["tag"]
    config = {"bundle": tag, "why": "the judge is too strict"}
    alone = strict.run("release", config={"late_orders__release": {"config": config}}, raises=False)
    assert "did not pass its gate: 1 of 1 limits not met" in failure(alone)
    assert strict.tools.ledger.history("late_orders").equals(before)

    overridden = {"config": config | {"override_gate": True}}
    strict.run("release", config={"late_orders__release": overridden})
    last = strict.tools.ledger.history("late_orders").row(-1, named=True)
    assert last["stable"] == tag
    assert last["why"] == "the judge is too strict (gate overridden)"


def test_a_gate_that_is_passed_lets_the_release_run(shared_world: World) -> None:
    assert finding(shared_world.runs["model"], "within_limits") == (
        True,
        "Passed: the one limit is met.",
    )
    assert "late_orders__release" in ran(shared_world.runs["model"])


def test_inputs_as_learned(copied: World) -> None:
    file = copied.product.folder / "orders" / "2024-04.csv"
    rows = pl.read_csv(file, infer_schema=False)
    heavy = pl.when(pl.col("weight") != "heavy").then(pl.lit("9.9")).otherwise("weight")
    rows.with_columns(weight=heavy).write_csv(file)

    copied.run(*DATA, "features", partition=APRIL)
    result = copied.run("predictions", "drift", partition=APRIL)

    assert result.success
    passed, words = finding(result, "inputs_as_learned")
    assert not passed
    assert "of 5 columns drifted: " in str(words) and "weight (PSI " in str(words)
    assert copied.metadata("drift", APRIL)["drifted_columns"] == 2


def test_without_a_release_there_is_nothing_to_compare_inputs_with() -> None:
    found = no_drift(pl.DataFrame(), released=False)

    assert (found.passed, found.warn) == (False, True)
    assert found.words == "Nothing was in production, so there is no reference."
