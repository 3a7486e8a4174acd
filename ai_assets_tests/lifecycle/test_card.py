"""The model card."""

from dataclasses import replace

import numpy as np
import polars as pl

from ai_assets.lifecycle.card.card import CardFeature, CardInputs, model_card
from ai_assets.lifecycle.evaluation.evaluate import Evaluation, evaluate


def _evaluation() -> Evaluation:
    generator = np.random.default_rng(1)
    p = generator.random(1_000)
    y = (generator.random(1_000) < p).astype(float)
    y[:500] = 1 - y[:500]
    frame = pl.DataFrame({"origin": ["LGA"] * 500 + ["JFK"] * 450 + ["EWR"] * 50})
    return evaluate(frame, y, p, 0.4, ["origin"], seed=1, resamples=50)


INPUTS = CardInputs(
    product="flight_delay",
    description="Will this flight arrive late?",
    evaluation=_evaluation(),
    answers={"A positive answer means": "late"},
    partition="2013-06-01",
    horizon="2 hours",
    owners=("team:operations",),
    family="lightgbm",
    families=({"family": "linear", "log_loss": 0.512345}, {"family": "lightgbm", "log_loss": 0.5}),
    rows={"train": 60_000, "validation": 13_000, "test": 13_000},
    data_versions={"flight_delay/features": 7},
    refit=True,
    calibration="sigmoid, on validation rows",
    compression={"size": 120_000, "metric_loss": 0.00012},
    features=(
        CardFeature("hour", 0.25, ("flights.time_hour",)),
        CardFeature("trailing_delay", 0.75, ("flights.dep_delay", "flights.origin")),
    ),
    personal=("customers.name",),
    licence="Apache-2.0",
    pictures={"roc": "![roc](data:image/png;base64,AA==)"},
)


def test_the_card_says_what_it_is_for_and_what_it_was_made_of() -> None:
    card = model_card(INPUTS)

    assert card.startswith(
        "# Model card: flight_delay, 2013-06-01\n\nWill this flight arrive late?"
    )
    assert "- **A positive answer means:** late" in card
    assert "- **Answer given ahead by:** 2 hours" in card
    assert "- **Rows:** train 60,000, validation 13,000, test 13,000" in card
    assert "| linear | 0.5123 |" in card
    assert "| flight_delay/features | 7 |" in card
    assert "the refit itself is not judged" in card
    assert "| size | 120,000 |" in card
    assert "![roc](data:image/png;base64,AA==)" in card
    assert card.endswith("## Licence\n\nApache-2.0\n")


def test_metrics_stand_with_their_intervals() -> None:
    auc = INPUTS.evaluation.metrics["roc_auc"]

    row = f"| ROC-AUC | {auc.value:.4f} | {auc.low:.4f} to {auc.high:.4f} | higher |"
    assert row in model_card(INPUTS)


def test_the_worst_slice_comes_first_and_small_ones_are_counted() -> None:
    card = model_card(INPUTS)

    assert card.index("| origin | LGA | 500 |") < card.index("| origin | JFK | 450 |")
    assert "50 rows lie in slices too small to judge." in card


def test_features_are_ranked_and_tell_their_sources() -> None:
    card = model_card(INPUTS)

    first = card.index("| trailing_delay | 75.0% | flights.dep_delay, flights.origin |")
    assert first < card.index("| hour | 25.0% | flights.time_hour |")


def test_personal_data_is_named_and_unmeasured_fairness_is_admitted() -> None:
    card = model_card(INPUTS)

    assert "- **Personal data:** customers.name" in card
    assert "fairness between groups of people was not measured" in card


def test_the_same_inputs_give_the_same_card() -> None:
    assert model_card(INPUTS) == model_card(INPUTS)


def test_what_users_write_cannot_break_a_table() -> None:
    odd = CardInputs("p", "d", INPUTS.evaluation, families=({"family": "a|b\n<script>"},))

    assert "| a\\|b &lt;script> |" in model_card(odd)


def test_a_card_of_the_least_is_still_a_card() -> None:
    card = model_card(CardInputs("p", "A question?", INPUTS.evaluation))

    assert "# Model card: p\n" in card
    assert "## Licence\n\nNot declared." in card
    assert "## Features" not in card
    assert "None" not in card


def test_what_was_found_of_items_has_a_section_each() -> None:
    found = {"columns": ["language", "accuracy"], "rows": [["sv", 0.5]]}
    items = {"Languages": {"words": "Half of the texts are Swedish.", **found}}
    card = model_card(replace(INPUTS, items=items))
    assert "## Languages\n\nHalf of the texts are Swedish.\n\n| language | accuracy |" in card
    assert "| sv | 0.5 |" in card
    assert "## Languages" not in model_card(INPUTS)
