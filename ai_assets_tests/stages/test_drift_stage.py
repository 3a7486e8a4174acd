"""What the drift asset says of the features together."""

import polars as pl
import pytest
from small_product import FEBRUARY, MARCH, World

from ai_assets.lifecycle.drift.numbers import SCHEMA, JointDrift
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.stages.drift import no_drift, together

STEADY = JointDrift(900, 0.31, 0.3, 0.25, 0.35, 0.31 / 0.3, 0.4)
APART = JointDrift(900, 0.6, 0.3, 0.25, 0.35, 2.0, 12.0, {"load": 0.4}, drifted=True)


def test_features_that_no_longer_go_together_are_said_where_no_column_drifted() -> None:
    numbers = pl.DataFrame(schema=SCHEMA)

    found = no_drift(numbers, True, APART)

    assert (found.passed, found.warn) == (False, True)
    assert found.words == (
        "None of 0 columns has drifted. Features no longer go together as learned (ratio 2.00): "
        "load."
    )
    assert no_drift(numbers, True, STEADY).passed


def test_the_page_says_how_far_off_rows_lie() -> None:
    told = together(APART)

    assert told["together"] == (
        "Rows lie 2.00 times as far off as the reference's: 0.600, where 95 % of its blocks lie "
        "from 0.250 to 0.350."
    )
    assert told["together/ratio"] == 2.0
    assert together(None) == {"together": "none"}
    assert together(JointDrift(0, words="there are no rows")) == {"together": "there are no rows"}


def test_the_bundle_holds_how_the_features_go_together(shared_world: World) -> None:
    tag = shared_world.metadata("bundle", FEBRUARY)["tag"]
    path = shared_world.tools.bundles.payload(tag) / "reference.json"

    reference = Profile.from_json(path.read_text(encoding="utf-8"))

    assert reference.multivariate is not None
    assert "prediction" not in reference.multivariate.columns
    assert list(reference.columns)[-1] == "prediction"
    assert shared_world.metadata("drift", MARCH)["together/ratio"] == pytest.approx(1, abs=0.2)
