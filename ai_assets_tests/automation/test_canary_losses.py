"""What the canary sensor takes from scores and outcomes of the step, and how much it reads."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from canary_trials import A, Trial, skipped

from ai_assets.automation import observing
from ai_assets.serving.record.answers import Answered, Told
from ai_assets.serving.record.decode import keys_of_rows
from ai_assets.serving.record.recorder import Recorder


def test_outcomes_that_callers_told_take_a_worse_candidate_back(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.6, late=True)
    worse = trial.asked(trial.began)

    assert worse["end"] == "drop"
    assert worse["why"].startswith(
        "The candidate's realised log loss exceeds the stable bundle's by 0.4055"
    )
    assert trial.decisions() == [("roll_back", "realised_loss")]


def test_outcomes_as_good_as_the_stable_bundles_do_not(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.9, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")


def test_scores_alone_tell_nothing_of_a_candidate_that_is_less_sure(
    made: Callable[..., Trial],
) -> None:
    trial = made(limits={"estimated_loss": 0.1})
    trial.scored(40, 0.95, late=True, bundle=A, role="stable", first=1000)
    trial.scored(40, 0.5, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")


def test_scores_that_enough_outcomes_bear_out_take_a_worse_candidate_back(
    made: Callable[..., Trial],
) -> None:
    trial = made(limits={"estimated_loss": 0.1})
    trial.scored(200, 0.95, late=True, bundle=A, role="stable", first=1000)
    trial.scored(200, 0.5, late=True)

    assert trial.asked(trial.began)["end"] == "drop"
    assert trial.decisions() == [("roll_back", "estimated_loss")]


def test_a_tick_reads_a_bounded_number_of_rows_however_large_the_requests(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(entry: Answered, table: Any) -> list[str]:
        read.append(entry.rows)
        return keys_of_rows(entry, table)

    monkeypatch.setattr(observing, "keys_of_rows", counted)
    trial.asked_in_bulk(requests=25, rows=1000)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")
    assert sum(read) == observing.MOST_ROWS == 20_000


def test_a_row_that_is_asked_again_and_again_is_one_row(trial: Trial) -> None:
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    for _ in range(3):
        trial.scored(20, 0.6, late=True)

    assert skipped(trial.tick(trial.began)).startswith("The step has lasted")
    trial.scored(10, 0.6, late=True, first=20)
    assert trial.asked(trial.began)["end"] == "drop"


def told_by_key(trial: Trial, rows: int, outcome: str) -> None:
    """Let callers tell now how the first rows came out."""
    now = int(datetime.now(UTC).timestamp() * 1e6)

    async def work(recorder: Recorder) -> None:
        for number in range(rows):
            key = f'{{"number": {number}}}'
            await recorder.add(Told(now, now, None, None, key, None, outcome))

    trial.recorded(work)


def test_of_an_outcome_that_was_told_twice_the_last_counts(trial: Trial) -> None:
    trial.scored(100, 0.9, late=True, bundle=A, role="stable", first=1000)
    trial.scored(100, 0.9, late=True)
    told_by_key(trial, 100, "not late")

    assert trial.asked(trial.began)["end"] == "drop"
    assert trial.decisions() == [("roll_back", "realised_loss")]


def test_what_was_answered_before_the_step_says_nothing_of_it_though_outcomes_come_in_it(
    trial: Trial,
) -> None:
    trial.scored(40, 0.6, late=True)
    later = datetime.now(UTC)
    trial.release(split=0.5, decision_id="d2", recorded_at=later)
    trial.scored(40, 0.9, late=True, bundle=A, role="stable", first=1000)
    told_by_key(trial, 40, "late")

    waits = skipped(trial.tick(later + timedelta(seconds=1)))

    assert waits is not None and waits.startswith("The step has lasted")
