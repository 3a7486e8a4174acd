"""Feedback decides how many rows the candidate gets; the log alone says so."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import record_entries as make
import small_payload as small
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from release_worlds import World, until

from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.serving.app import create_app
from ai_assets.serving.record.answers import Described
from ai_assets.serving.record.asked import Split
from ai_assets.serving.record.ids import new_request_id
from ai_assets.serving.record.store import open_store
from ai_assets.serving.traffic import bandit as bandit_module
from ai_assets.serving.traffic.assign import assigned, assigned_again
from ai_assets.serving.traffic.bandit import Arm, Bandit, learned_share, rewards
from ai_assets.serving.traffic.releases import LEAST_SHARE, MOST_SHARE, Release

COUNT = st.integers(0, 500)
ROUNDS, ROWS_A_ROUND = 20, 100


def simulated(rates: tuple[float, float], seed: int) -> float:
    """The share after twenty looks at feedback on a hundred rows each.

    Args:
        rates: how often the stable bundle and the candidate are right.
        seed: draws what comes true.
    """
    chance, share = np.random.default_rng(seed), 0.5
    counts = np.zeros((2, 2), dtype=int)
    for look in range(ROUNDS):
        for row in range(ROWS_A_ROUND):
            theirs = int(assigned("trips", f"trips:{seed}", f"{look}/{row}") < share)
            counts[theirs, int(chance.random() >= rates[theirs])] += 1
        arms = [Arm(int(right), int(wrong)) for right, wrong in counts]
        share = learned_share(*arms, salt=f"trips:{seed}") or share
    return share


@pytest.mark.parametrize(
    ("rates", "share"), [((0.6, 0.75), MOST_SHARE), ((0.75, 0.6), LEAST_SHARE)]
)
def test_rows_go_to_the_better_bundle(rates: tuple[float, float], share: float):
    assert [simulated(rates, seed) for seed in range(20)] == pytest.approx([share] * 20, abs=0.03)


def test_bundles_that_are_equally_good_get_half_each_on_the_whole():
    shares = [simulated((0.7, 0.7), seed) for seed in range(40)]

    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)
    assert learned_share(Arm(70, 30), Arm(70, 30), "x") == pytest.approx(0.5, abs=0.03)


def test_the_share_is_the_probability_that_the_candidate_is_better():
    # Beta(3, 9) against Beta(9, 3), by the sum that whole numbers allow: 0.9955, more than may be.
    assert learned_share(Arm(2, 8), Arm(8, 2), "x") == MOST_SHARE
    # Beta(6, 6) against Beta(8, 4): 0.8065.
    assert learned_share(Arm(5, 5), Arm(7, 3), "x") == pytest.approx(0.8065, abs=0.02)


@given(COUNT, COUNT, COUNT, COUNT, st.text(max_size=9))
def test_the_same_log_gives_the_same_share_within_its_bounds(
    right: int, wrong: int, others_right: int, others_wrong: int, salt: str
):
    arms = Arm(right, wrong), Arm(others_right, others_wrong)

    share = learned_share(*arms, salt)

    assert share == learned_share(*arms, salt)
    if min(right + wrong, others_right + others_wrong) < 10:
        assert share is None
    else:
        assert share is not None and LEAST_SHARE <= share <= MOST_SHARE


def test_the_newest_answer_to_a_row_counts_against_what_was_told_of_it_last():
    newest_first = [
        make.answered(rows=2, label=["late", "not late"], given=b"ac"),
        make.answered(rows=2, label=["not late", "late"], given=b"ab"),
        make.answered(rows=1, label=[3.5], given=b"d"),
    ]
    told = [
        make.told(outcome="not late", entity="a"),
        make.told(outcome="late", entity="a"),
        make.told(outcome="late", entity="b"),
        make.told(outcome=3.5, entity="d"),
        make.told(outcome="late", entity="of nobody"),
    ]

    # a: answered late at last, told not late at last; b: late, late; of c nothing was told.
    found = rewards(newest_first, told, lambda entry: list(entry.given.decode()))

    assert found == Arm(right=1, wrong=1)


def test_ready_vectors_are_known_by_the_ids_of_their_predictions():
    entry = make.answered(rows=2, label=["late", "late"])
    first, second = entry.prediction_ids()
    told = [
        make.told(entity="{}", prediction_id=first, outcome="late"),
        make.told(entity="{}", prediction_id=second, outcome="not late"),
    ]

    assert rewards([entry], told, lambda e: ["{}"] * e.rows) == Arm(right=1, wrong=1)


@pytest.mark.parametrize(("split", "share"), [(0.0, LEAST_SHARE), (0.4, 0.4), (1.0, MOST_SHARE)])
def test_it_begins_with_the_split_of_the_release(split: float, share: float):
    assert Release("trips:1", "trips:2", split, "bandit").first_share == share
    assert Release("trips:1", "trips:2", split, "ab").first_share == split


class Trial:
    """A server with a stable bundle that calls every trip late, and a candidate that calls none."""

    def __init__(self, world: World, client: TestClient, stable: str, candidate: str) -> None:
        self.world, self.client, self.stable, self.candidate = world, client, stable, candidate

    def ask(self, days: range) -> list[dict[str, Any]]:
        """Answers to six trips a day."""
        rows = [
            {**small.ROW, "due": f"2013-04-{day:02}T{hour:02}:30:00Z"}
            for day in days
            for hour in range(8, 14)
        ]
        answer = self.client.post("/predict", json=rows)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["predictions"]
        return found

    def tell(self, predictions: list[dict[str, Any]], outcome: str) -> None:
        ids = [one["prediction_id"] for one in predictions]
        body = [{"prediction_id": name, "outcome": outcome} for name in ids]
        assert self.client.post("/feedback", json=body).status_code == 200

    def share(self) -> float:
        found: float = self.client.get("/release").json()["split"]
        return found


@pytest.fixture
def trial(world: World) -> Iterator[Trial]:
    """A bandit that begins with half."""
    stable, candidate = world.bundle(0.0), world.bundle(1.0)
    world.release(stable, candidate, 0.5, "bandit")
    with TestClient(create_app(None, world.settings())) as client:
        made = Trial(world, client, stable, candidate)
        until(lambda: made.share() == 0.5)
        yield made


def test_a_server_gives_the_candidate_that_is_right_more_rows_and_the_log_tells_why(trial: Trial):
    trial.tell(trial.ask(range(1, 9)), "not late")
    until(lambda: trial.share() == MOST_SHARE)
    later = trial.ask(range(10, 20))

    theirs = [one["bundle"] == trial.candidate for one in later]
    assert sum(theirs) > 0.8 * len(theirs)
    assert f'candidate_share{{product="trips"}} {MOST_SHARE}' in trial.client.get("/metrics").text
    store = open_store(str(trial.world.folder / "log.sqlite"))
    described, entries = store.descriptions(), list(store.answers((None, None)))
    assert {e.split.share for e in entries if e.split} == {0.5, MOST_SHARE}
    for entry in entries:
        assert assigned_again(entry, described) == [entry.role] * entry.rows
    # Whoever has the log finds the same share.
    assert Bandit(lambda: store).share(trial.stable, trial.candidate) == MOST_SHARE


def test_a_server_that_starts_anew_goes_on_from_the_log(trial: Trial):
    trial.tell(trial.ask(range(1, 9)), "late")
    until(lambda: trial.share() == LEAST_SHARE)

    with TestClient(create_app(None, trial.world.settings())) as client:
        until(lambda: client.get("/release").json()["split"] == LEAST_SHARE)


def test_a_trial_of_another_kind_learns_nothing_and_teaches_nothing(trial: Trial):
    world, told = trial.world, trial.ask(range(1, 9))
    world.release(trial.stable, trial.candidate, 0.4, "ab")
    until(lambda: trial.share() == 0.4)
    split = trial.ask(range(9, 17))
    trial.tell(split, "not late")
    store = open_store(str(world.folder / "log.sqlite"))
    bandit = Bandit(lambda: store)

    assert bandit.share(trial.stable, trial.candidate) is None
    assert trial.share() == 0.4

    trial.tell(told, "not late")
    assert bandit.share(trial.stable, trial.candidate) == MOST_SHARE
    assert bandit.share(trial.stable, "trips:another") is None


def test_what_the_candidate_could_not_answer_is_a_fair_answer_of_neither(world: World):
    store = open_store(str(world.folder / "log.sqlite"))
    split = Split("trips:2", 0.5, "bandit", "request")
    fallen = Split("trips:2", 0.5, "bandit", "request", fell_back=True)
    given: Any = {"given": b"", "features": b""}
    ours = [make.answered(split=split, **given) for _ in range(12)]
    theirs = [
        make.answered(split=split, bundle="trips:2", role="candidate", **given) for _ in range(12)
    ]
    fell = [make.answered(split=fallen, **given) for _ in range(50)]
    table, encoding = small.tables()["trips"], Encoding.fit(small.FEATURES)
    described = [Described.of(tag, table, encoding) for tag in ("trips:1", "trips:2")]
    told = [
        make.told(entity="{}", prediction_id=e.prediction_ids()[0], outcome=outcome)
        for entries, outcome in ((ours, "late"), (theirs, "late"), (fell, "not late"))
        for e in entries
    ]
    store.write([*described, *ours, *theirs, *fell, *told])

    share = Bandit(lambda: store).share("trips:1", "trips:2")

    assert share == learned_share(Arm(12, 0), Arm(12, 0), "trips:2")


def test_of_large_requests_only_so_many_rows_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bandit_module, "MOST_ROWS", 15)
    store = open_store(str(world.folder / "log.sqlite"))
    split = Split("trips:2", 0.5, "bandit", "request")
    roles = (("trips:1", "stable"), ("trips:2", "candidate"))
    entries = [
        make.answered(
            rows=10, split=split, bundle=tag, role=role, given=b"", features=b"",
            request_id=new_request_id(make.AT + 1_000_000 * age),
        )
        for tag, role in roles
        for age in range(5)
    ]  # fmt: skip
    table, encoding = small.tables()["trips"], Encoding.fit(small.FEATURES)
    newest = [*entries[3:5], *entries[8:10]]
    told = [
        make.told(entity="{}", prediction_id=i, outcome="late" if e in newest else "not late")
        for e in entries
        for i in e.prediction_ids()
    ]
    store.write([*(Described.of(tag, table, encoding) for tag, _ in roles), *entries, *told])

    share = Bandit(lambda: store).share("trips:1", "trips:2")

    assert share == learned_share(Arm(20, 0), Arm(20, 0), "trips:2")
