"""One cause from all evidence, and the labels that confirm a changed concept."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.drift.numbers import drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import profile
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.injection import INJECTIONS, code_after, inject
from ai_assets.lifecycle.verdict.concept import (
    Calibrated,
    Labelled,
    block_error,
    calibrated,
    concept_evidence,
    segments_of,
    slope_of,
)
from ai_assets.lifecycle.verdict.concept import (
    labelled as of_classes,
)
from ai_assets.lifecycle.verdict.decide import Signals, decide_cause
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.lifecycle.verdict.spec import Causes
from ai_assets_tests.lifecycle import cause_worlds as world

REFERENCE = world.sketches(world.raw(1))
OTHER = world.raw(2)
CODE = {"cleaned/orders": "a1", "features": "b1"}
FEATURES = ["shop", "weight", "price"]
KNOWN = profile(world.raw(1)["orders"].select(FEATURES)).with_columns(
    profile(pl.DataFrame({"prediction": world.scores(world.raw(1)["orders"])}))
)
IMPORTANCES = {"weight": 0.7, "shop": 0.25, "price": 0.05}


def signals(frames: dict[str, pl.DataFrame], *, labels: bool = True, **changes: object) -> Signals:
    """What a partition of these rows shows; its features are its own columns."""
    seen = world.observed(frames, REFERENCE)
    made = Signals(
        tables=seen, request="orders", code_then=CODE, code_now=CODE, importances=IMPORTANCES
    )
    rows = seen["orders"].frame
    if rows is not None:
        features = rows.select(FEATURES).with_columns(prediction=world.scores(rows))
        outcome = Labelled(
            (rows["delay"] >= 15).cast(pl.Float64).to_numpy(),
            world.scores(rows),
            rows.select(FEATURES),
            rows["placed"].dt.date().to_numpy(),
        )
        made = replace(
            made,
            features=drift_numbers(KNOWN, features),
            joint=joint_drift(KNOWN, features),
            labelled=outcome if labels else None,
        )
    return replace(made, **changes)


def verdict(frames: dict[str, pl.DataFrame], **changes: object) -> Verdict:
    return decide_cause("orders", "2024-03-01", "orders:1", signals(frames, **changes))


def test_nothing_is_the_cause_of_nothing() -> None:
    found = verdict(OTHER)

    assert (found.cause, found.severity, found.evidence) == ("none", 0.0, [])
    assert found.labelled


@pytest.mark.parametrize("name", INJECTIONS)
@pytest.mark.parametrize("seed", range(2))
def test_the_cause_of_each_injection_is_named(name: str, seed: int) -> None:
    frames = inject(name, OTHER, world.DECLARED, seed)

    found = verdict(frames, code_now=code_after(name, CODE))

    assert found.cause == INJECTIONS[name].cause, found.words
    assert 0 < found.severity <= 1 or found.cause == "covariate_drift"
    assert found.evidence[0].cause == found.cause


def test_broken_data_goes_before_all_else() -> None:
    orders = OTHER["orders"].with_columns(
        weight=pl.col("weight") * 1000, shop=pl.lit("new"), delay=pl.lit(0)
    )

    found = verdict({**OTHER, "orders": orders}, code_now={**CODE, "features": "b2"})

    assert found.cause == "broken_data"
    assert found.words.startswith("The data is broken: ")
    assert {e.cause for e in found.evidence} >= {"changed_code", "covariate_drift", "concept_drift"}


def test_changed_code_is_a_cause_only_if_something_moved() -> None:
    now = {**CODE, "features": "b2"}
    moved = OTHER["orders"].with_columns(pl.col("weight") + 4, pl.col("price") + 12)

    still = verdict(OTHER, code_now=now)
    changed = verdict({**OTHER, "orders": moved}, code_now=now)

    assert still.cause == "none"
    assert "the code of features is version b2" in still.words
    assert changed.cause == "changed_code"
    assert "the code of features is version b2" in changed.words
    assert "weight" in changed.words


def test_covariate_drift_is_as_severe_as_its_features_matter() -> None:
    # The outcome follows the inputs as ever, so that only they have moved.
    heavy = OTHER["orders"].filter((pl.col("weight") > 8) | (pl.int_range(pl.len()) % 6 == 0))
    dear = OTHER["orders"].with_columns(pl.col("price") + 12)

    matters = verdict({**OTHER, "orders": heavy})
    hardly = verdict({**OTHER, "orders": dear}, labels=False)

    assert matters.cause == hardly.cause == "covariate_drift"
    assert matters.severity > 0.5 > 0.1 > hardly.severity > 0
    assert "weight" in matters.words
    assert "price" in hardly.words
    assert "carry 5% of the model" in hardly.words
    assert not hardly.labelled


def test_a_concept_needs_labels_and_columns_that_hardly_matter_do_not_hide_it() -> None:
    turned = inject("label_flipped_in_segment", OTHER, world.DECLARED, 0)
    turned["orders"] = turned["orders"].with_columns(pl.col("price") + 12)

    assert verdict(turned, labels=False).cause == "covariate_drift"
    found = verdict(turned)

    assert found.cause == "concept_drift"
    assert any(e.subject == "shop" for e in found.evidence if e.cause == "concept_drift")


def test_what_other_columns_tell_no_longer_is_drift_of_both() -> None:
    orders = OTHER["orders"]
    shuffled = orders.with_columns(price=orders["price"].shuffle(seed=1))

    found = verdict({**OTHER, "orders": shuffled}, labels=False)

    assert found.cause == "covariate_drift"
    assert {e.kind for e in found.evidence} >= {"relation", "joint"}


def test_numbers_of_a_key_and_late_columns_are_no_inputs() -> None:
    orders = OTHER["orders"].with_columns(pl.col("number") + 1_000_000)

    assert verdict({**OTHER, "orders": orders}).cause == "none"
    late = orders.with_columns(pl.col("delay") + 5)
    assert verdict({**OTHER, "orders": late}, labels=False).cause == "none"


def test_a_verdict_is_read_back_and_another_format_is_refused() -> None:
    found = verdict(inject("unit_changed", OTHER, world.DECLARED, 0))

    assert Verdict.from_json(found.to_json()) == found
    with pytest.raises(DataError, match="format 1"):
        Verdict.from_json(found.to_json().replace('"format": 1', '"format": 2'))
    with pytest.raises(DataError, match="the verdict's cause must be one of 'none'"):
        Verdict.from_json(
            found.to_json().replace('"cause": "broken_data",\n "sev', '"cause": "x",\n "sev')
        )


def labelled(seed: int = 0, *, odds: float = 0.0, slope: float = 1.0) -> Labelled:
    """Rows whose labels follow their scores, or scores of other odds."""
    random = np.random.default_rng(seed)
    score = random.beta(2, 5, 8_000)
    true = 1 / (1 + np.exp(-(odds + slope * np.log(score / (1 - score)))))
    part = random.choice(["a", "b", "c"], 8_000)
    labels = (random.random(8_000) < true).astype(float)
    return Labelled(labels, score, pl.DataFrame({"part": part}), np.arange(8_000) // 300)


def test_labels_as_scored_are_no_evidence_whatever_the_scores_are() -> None:
    for seed in range(5):
        assert concept_evidence(labelled(seed), Causes()) == []


def test_each_way_of_contradicting_scores_is_told() -> None:
    rate = concept_evidence(labelled(odds=0.8), Causes())
    weak = concept_evidence(labelled(slope=0.2, odds=-0.6), Causes())
    rows = labelled()
    turned = np.where(rows.segments["part"] == "b", 1 - rows.labels, rows.labels)
    segment = concept_evidence(replace(rows, labels=turned), Causes())

    assert "base_rate" in {e.kind for e in rate}
    assert "the outcome came in" in rate[0].words
    assert "relation" in {e.kind for e in weak}
    assert "where part is b" in next(e.words for e in segment if e.kind == "segment")


def classes(seed: int, *, wrong: float = 0.0) -> Labelled:
    """Rows of three classes as scored; a share of them is of any class instead."""
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.ones(3), 8_000)
    of = (random.random((8_000, 1)) > np.cumsum(scores, axis=1)).sum(axis=1)
    of = np.where(random.random(8_000) < wrong, random.integers(0, 3, 8_000), of)
    part = pl.DataFrame({"part": random.choice(["a", "b"], 8_000)})
    return of_classes(of.astype(float), scores, part, np.arange(8_000) // 300)


def test_classes_contradict_where_the_answer_is_right_less_often_than_it_promises() -> None:
    for seed in range(3):
        assert concept_evidence(classes(seed), Causes()) == []

    found = concept_evidence(classes(1, wrong=0.3), Causes())

    assert found[0].kind == "base_rate"
    assert found[0].words.startswith("the answer was right in 5")
    assert "expected were 61" in found[0].words


def test_rows_without_segments_are_judged_as_a_whole() -> None:
    rows = replace(labelled(odds=0.8), segments=pl.DataFrame())

    assert {e.kind for e in concept_evidence(rows, Causes())} == {"base_rate"}


def test_a_usual_miscalibration_is_no_evidence() -> None:
    rows = labelled(odds=0.4)

    assert concept_evidence(rows, Causes())
    assert concept_evidence(rows, Causes(), calibrated(rows)) == []
    assert calibrated(replace(rows, labels=np.zeros(8_000))) == Calibrated()


def test_few_labels_and_missing_ones_say_nothing() -> None:
    rows = labelled(odds=2.0)
    few = np.where(np.arange(8_000) < 100, rows.labels, np.nan)

    assert concept_evidence(replace(rows, labels=few), Causes()) == []


def test_the_slope_and_the_error_are_those_of_the_textbook() -> None:
    rows = labelled(slope=0.5)
    slope, influence = slope_of(rows.labels, rows.scores)

    assert slope == pytest.approx(0.5, abs=0.1)
    assert np.sqrt((influence[:, 1] ** 2).sum()) == pytest.approx(0.03, abs=0.015)
    # Blocks of equal rows: the error is that of as many rows as there are blocks.
    drawn = np.random.default_rng(0).normal(size=100)
    error = block_error(np.repeat(drawn, 50), np.repeat(np.arange(100), 50))
    assert error == pytest.approx(drawn.std(ddof=1) / 10)


def test_segments_are_texts_truths_and_quarters() -> None:
    words = [w for w, _ in segments_of(pl.Series("x", np.arange(1_000.0)))]
    assert words == [
        "x is at most 249.75",
        "x is above 249.75 and at most 499.5",
        "x is above 499.5 and at most 749.25",
        "x is above 749.25",
    ]
    (yes, mask), _ = segments_of(pl.Series("x", [True, True, False, None]))
    assert (yes, mask.tolist()) == ("x is true", [True, True, False, False])
