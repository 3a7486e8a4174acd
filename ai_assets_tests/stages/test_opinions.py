"""What is believed of scores before labels: the bundle's word, corrected, or shared with others."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from challengers import APRILS_START, release, tag
from small_product import APRIL, FEBRUARY, GOOD_ROWS, MARCH, World, copy_of

from ai_assets.lifecycle.estimation.confidence import FEWEST_LABELS, belief, expected_values
from ai_assets.lifecycle.estimation.confidence import believed as believed_rows
from ai_assets.stages.binding import StageRun
from ai_assets.stages.evaluation import scores_of
from ai_assets.stages.opinions import BACK, beliefs
from ai_assets.stages.outcomes import Outcomes, known_outcomes

MAY = "2024-05-01"
DATA = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
SCORED = (*DATA, "labels", "features", "predictions")


@pytest.fixture(scope="module")
def succeeded(challenged_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """March's bundle, released for April; February's has answered March, whose labels are there."""
    world = copy_of(challenged_world, tmp_path_factory.mktemp("succeeded"))
    release(world)
    assert world.run(*SCORED, "performance", partition=APRIL).success
    return world


def by_bundle(world: World, bundle: str, partition: str) -> np.ndarray:
    """What a bundle says of a partition's rows, in the order of predictions."""
    features = world.rows("features", partition)
    rows = world.rows("predictions", partition).select("_row_id")
    return scores_of(
        world.tools.bundles.load(bundle),
        rows.join(features, on="_row_id", how="left", maintain_order="left"),
    )


def test_of_a_new_bundle_the_one_before_it_is_heard_corrected_by_its_labels(
    succeeded: World,
) -> None:
    old, new = tag(succeeded, FEBRUARY), tag(succeeded, MARCH)
    rows = succeeded.rows("predictions", APRIL)
    known = succeeded.rows("predictions", MARCH).join(
        succeeded.rows("labels", MARCH).drop_nulls("label"), on="_row_id"
    )
    assert set(rows["bundle"]) == {new} and set(known["bundle"]) == {old}

    found = beliefs(succeeded.step("performance", APRIL), rows, new)

    p, others = rows["probability"].to_numpy(), by_bundle(succeeded, old, APRIL)
    corrected = belief(others, known["probability"].to_numpy(), known["label"].to_numpy())
    assert np.abs(corrected - others).max() > 0.01
    np.testing.assert_allclose(found.q, (p + corrected) / 2, atol=1e-6)
    assert np.abs(found.q - p).max() > 0.01
    assert found.words == f"the mean of the scores and of what {old} and their labels say"
    told = succeeded.metadata("performance", APRIL)
    assert told["estimated_from"] == found.words
    expected = expected_values(believed_rows(p, found.q), ("log_loss",))["log_loss"]
    assert told["estimated/log_loss"] == pytest.approx(expected, abs=1e-9)


def test_a_bundle_whose_labels_arrived_before_is_corrected_by_them_alone(
    succeeded: World,
) -> None:
    """February's, asked in April as if it had stayed: it had answered all of March."""
    old = tag(succeeded, FEBRUARY)
    rows = succeeded.rows("predictions", APRIL).with_columns(
        probability=pl.Series(by_bundle(succeeded, old, APRIL))
    )

    found = beliefs(succeeded.step("performance", APRIL), rows, old)

    assert found.words == f"the scores, corrected by {GOOD_ROWS} labels that arrived before"
    assert np.abs(found.q - rows["probability"].to_numpy()).max() > 0.01


def test_the_first_bundle_is_believed_as_it_is(shared_world: World) -> None:
    rows = shared_world.rows("predictions", MARCH)

    found = beliefs(shared_world.step("performance", MARCH), rows, tag(shared_world, FEBRUARY))

    np.testing.assert_array_equal(found.q, rows["probability"].to_numpy())
    assert found.words == "the scores as they are: too few labels arrived before"


Told = dict[int, dict[str, int]]


@pytest.fixture
def arrived(succeeded: World, monkeypatch: pytest.MonkeyPatch) -> Told:
    """By partition back, how many labels have arrived of rows that the bundle of a month scored."""
    told: Told = {}

    def stub(_: StageRun, back: int) -> Outcomes:
        months = [month for month, labels in told.get(back, {}).items() for _ in range(labels)]
        at = pl.int_range(pl.len())
        rows = pl.DataFrame({"bundle": [tag(succeeded, month) for month in months]})
        return Outcomes(
            rows.with_columns(label=at % 2 * 1.0, probability=at / pl.len()).cast(
                {"bundle": pl.String}
            )
        )

    monkeypatch.setattr("ai_assets.stages.opinions.known_outcomes", stub)
    return told


@pytest.mark.parametrize(
    ("labels", "heard"),
    [
        ({2: FEWEST_LABELS}, True),
        ({2: FEWEST_LABELS - 1}, False),
        ({BACK: FEWEST_LABELS}, True),
        ({BACK + 1: FEWEST_LABELS}, False),
        ({0: FEWEST_LABELS}, False),
        # of small partitions, such as days, several together
        ({1: 3, 2: FEWEST_LABELS - 3}, True),
        ({1: 3, 2: FEWEST_LABELS - 4}, False),
    ],
)
def test_a_bundle_is_heard_by_its_newest_labels_that_are_enough(
    succeeded: World, arrived: Told, labels: dict[int, int], heard: bool
) -> None:
    arrived |= {back: {FEBRUARY: count} for back, count in labels.items()}
    rows = succeeded.rows("predictions", APRIL)

    found = beliefs(succeeded.step("performance", APRIL), rows, tag(succeeded, MARCH))

    assert (tag(succeeded, FEBRUARY) in found.words) == heard
    assert ("as they are: too few labels arrived before" in found.words) == (not heard)


def test_a_bundle_that_is_back_in_production_is_corrected_by_its_own_labels_of_then(
    succeeded: World, arrived: Told
) -> None:
    arrived |= {1: {FEBRUARY: FEWEST_LABELS}, 2: {MARCH: FEWEST_LABELS + 1}}
    rows = succeeded.rows("predictions", APRIL)

    found = beliefs(succeeded.step("performance", APRIL), rows, tag(succeeded, MARCH))

    assert found.words == "the scores, corrected by 201 labels that arrived before"


def test_a_bundle_that_may_have_learned_from_the_rows_is_not_heard(
    succeeded: World, arrived: Told
) -> None:
    """March's bundle was asked of old rows later; it has learned from March."""
    arrived |= {1: {MARCH: FEWEST_LABELS}}
    rows = succeeded.rows("predictions", MARCH)

    found = beliefs(succeeded.step("performance", MARCH), rows, tag(succeeded, FEBRUARY))

    np.testing.assert_array_equal(found.q, rows["probability"].to_numpy())


def test_what_arrives_late_of_a_partition_is_told_with_that_partition_or_not_at_all(
    succeeded: World, tmp_path: Path
) -> None:
    """Of March the last days' labels arrive in April; of April they have not when May begins."""
    world = copy_of(succeeded, tmp_path).declared(label__arrives_after="10 days")
    assert world.run("labels", partition=MARCH, last=APRIL).success
    run = world.step("performance", MAY)

    april, march = known_outcomes(run, 1).rows, known_outcomes(run, 2).rows

    orders = world.rows("cleaned/orders", APRIL)["placed"]
    in_time = int((orders + timedelta(days=10) <= datetime(2024, 5, 1, tzinfo=UTC)).sum())
    assert 0 < in_time < GOOD_ROWS
    assert (april.height, march.height) == (in_time, GOOD_ROWS)
    assert april["event_time"].min() >= APRILS_START
    assert set(april["bundle"]) == {tag(world, MARCH)}
    assert set(march["bundle"]) == {tag(world, FEBRUARY)}


@pytest.mark.parametrize(("delay", "partitions"), [("10 days", 4), ("70 days", 6)])
def test_where_labels_take_longer_more_partitions_are_looked_at(
    succeeded: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, delay: str, partitions: int
) -> None:
    world = copy_of(succeeded, tmp_path).declared(label__arrives_after=delay)
    asked: list[int] = []

    def nothing(run: StageRun, back: int) -> Outcomes:
        asked.append(back)
        return Outcomes(pl.DataFrame(schema={"bundle": pl.String}))

    monkeypatch.setattr("ai_assets.stages.opinions.known_outcomes", nothing)
    beliefs(world.step("performance", APRIL), world.rows("predictions", APRIL), tag(world, MARCH))

    assert asked == list(range(1, partitions + 1))


def test_a_bundle_with_other_answers_than_are_declared_now_is_not_heard(
    succeeded: World, tmp_path: Path
) -> None:
    """Both answer with one of two; today a number is declared."""
    world = copy_of(succeeded, tmp_path).declared(
        label__sql="delay",
        label__task="regression",
        label__positive=None,
        gate__min={"r2": 0.5},
    )
    rows = world.rows("predictions", APRIL)

    found = beliefs(world.step("performance", APRIL), rows, tag(world, MARCH))

    np.testing.assert_array_equal(found.q, rows["probability"].to_numpy())


def test_a_bundle_that_is_gone_is_left_out_and_told(succeeded: World, tmp_path: Path) -> None:
    world = copy_of(succeeded, tmp_path)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    shutil.rmtree(world.tools.bundles.path(old))
    said: list[str] = []
    run = world.step("performance", APRIL)
    object.__setattr__(run, "say", said.append)

    found = beliefs(run, world.rows("predictions", APRIL), new)

    np.testing.assert_array_equal(
        found.q, world.rows("predictions", APRIL)["probability"].to_numpy()
    )
    assert found.words.startswith("the scores as they are")
    (word,) = said
    assert word.startswith(f"{old} is not asked about these rows: There is no bundle '{old}'.")
