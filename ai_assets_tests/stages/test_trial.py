"""A candidate beside the release: begun, changed, promoted, dropped, each an entry of its own."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from challengers import APRILS_START, STEEP, UNDER, of_release, release, tag
from small_product import APRIL, FEBRUARY, MARCH, World, failure

from ai_assets.resources.append_only import AppendOnly
from ai_assets.resources.ledger import Entry

CANARY = {"mode": "canary", "steps": [0.1, 0.5]}


def entry(world: World):
    """The newest entry of the ledger."""
    return world.tools.ledger.as_of("late_orders", datetime(2030, 1, 1, tzinfo=UTC))


def steps(world: World) -> list[tuple[str, float]]:
    """Mode and split of each entry, oldest first."""
    return list(world.tools.ledger.history("late_orders").select("mode", "split").iter_rows())


def refused(world: World, **config: Any) -> str:
    """What a release says that fails."""
    result = world.run("release", config=of_release(config), raises=False)
    assert not result.success
    return failure(result)


def test_a_person_tries_a_candidate_widens_it_and_promotes_it(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)

    begun = release(challenged, None, candidate=new, split=0.1, who="ada", why="a look")
    assert (begun["stable"], begun["candidate"], begun["mode"]) == (old, new, "ab")
    assert begun["split"] == 0.1
    assert begun["outcome"] == f"{new} is tried beside {old} as ab with 0.1 of traffic."
    assert (begun["cause"], begun["who"], begun["why"]) == ("by hand", "ada", "a look")
    first = entry(challenged)
    assert (first.who, first.why, first.cause) == ("ada", "a look", "by hand")
    assert first.effective_from == APRILS_START
    assert first.gate and first.split == 0.1

    wider = release(challenged, None, split=0.4, who="ada", why="it does well")
    assert (wider["candidate"], wider["mode"], wider["split"]) == (new, "ab", 0.4)

    ended = release(challenged, None, end="promote", who="ada", why="better")
    assert (ended["stable"], ended["candidate"], ended["mode"]) == (new, "none", "none")
    assert (entry(challenged).stable, entry(challenged).candidate) == (new, None)
    assert steps(challenged) == [("", 0.0), ("ab", 0.1), ("ab", 0.4), ("", 0.0)]
    assert "a look" in ended["history"] and "0.4" in ended["history"]


def test_a_canary_that_nobody_declared_says_what_makes_it_grow(challenged: World) -> None:
    new = tag(challenged, MARCH)
    needed = (
        f"with 0.25 of traffic. Its share grows while the sensor {challenged.product.name}_canary "
        "is on. It is off until somebody switches it on under Automation, for rollout.mode in the "
        "YAML is direct."
    )

    begun = release(challenged, None, candidate=new, mode="canary", split=0.25)
    fixed = release(challenged, None, mode="ab", split=0.5)
    declared = release(challenged.declared(rollout=CANARY), None, mode="canary", split=0.3)

    assert begun["outcome"].endswith(needed)
    assert fixed["outcome"].endswith(" as ab with 0.5 of traffic.")
    assert declared["outcome"].endswith(" as canary with 0.3 of traffic.")


def test_batch_predictions_stay_with_the_stable_bundle(challenged: World) -> None:
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    challenged.run(*data, "features", "labels", partition=APRIL)
    release(challenged, None, candidate=tag(challenged, MARCH), split=0.5)

    challenged.run("predictions", partition=APRIL)

    found = challenged.rows("predictions", APRIL)["bundle"].unique().to_list()
    assert found == [tag(challenged, FEBRUARY)]


def test_a_candidate_is_dropped_and_the_stable_bundle_stays(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    release(challenged, None, candidate=new, split=0.5)

    told = release(challenged, None, end="drop", why="slow")

    assert told["outcome"] == f"{old} is in production, and no candidate beside it."
    assert (entry(challenged).stable, entry(challenged).candidate) == (old, None)


def test_the_same_again_changes_nothing(challenged: World) -> None:
    new = tag(challenged, MARCH)
    release(challenged, None, candidate=new, mode="canary", split=0.25)
    version = challenged.version("release")

    again = release(challenged, None, candidate=new, mode="canary", split=0.25)
    plain = release(challenged, None)

    assert again["outcome"].startswith(f"Nothing to change: {new} is tried beside ")
    assert plain["outcome"].endswith("already. To end that, set end: promote.")
    assert (again["releases"], challenged.version("release")) == (2, version)


def test_what_did_not_pass_its_gate_may_be_a_shadow_and_nothing_else(challenged: World) -> None:
    world = challenged.declared(gate__champion=STEEP)
    new = tag(world, MARCH)
    world.run("gate", partition=MARCH)

    assert "did not pass its gate" in refused(world, candidate=new, split=0.1)
    shadow = release(world, None, candidate=new, mode="shadow")
    assert (shadow["mode"], shadow["split"]) == ("shadow", 0.0)
    assert shadow["outcome"].endswith(" as shadow.")
    assert "did not pass its gate" in refused(world, mode="canary")
    assert "did not pass its gate" in refused(world, end="promote")

    release(world, None, mode="canary", override_gate=True, why="we know better")
    assert entry(world).why == "we know better (gate overridden)"
    assert release(world, None, end="promote")["stable"] == new


def test_what_cannot_be_asked_is_told_with_what_can(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)

    for config, words in (
        ({"split": 0.5}, f"candidate must be named: {old} is alone in production"),
        ({"end": "drop"}, f"There is no candidate to drop: {old} is alone in production."),
        ({"candidate": new[:-1]}, f"Did you mean '{new}'?"),
        ({"candidate": old}, "candidate must be another bundle than in production, but got"),
        ({"candidate": new, "mode": "canry"}, "must be one of 'ab', 'canary', 'shadow', 'bandit'"),
        ({"candidate": new, "split": 5.0}, "split must be between 0 and 1, but got 5.0"),
        ({"candidate": new, "mode": "shadow", "split": 0.1}, "whose answers nobody gets, must be"),
        ({"bundle": new, "split": 0.1}, "bundle releases at once, so it must stand without split"),
        ({"end": "stop"}, "end must be one of 'promote', 'drop', but got 'stop'"),
        ({"end": "drop", "split": 0.1}, "end must be alone, without split, but got 'drop'"),
    ):
        assert words in refused(challenged, **config)
    assert len(steps(challenged)) == 1


def test_a_decision_begins_a_canary_where_the_product_declares_one(challenged: World) -> None:
    world = challenged.declared(rollout=CANARY)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)

    begun = release(world, **UNDER)
    again = release(world, **UNDER)

    assert (begun["stable"], begun["candidate"], begun["mode"]) == (old, new, "canary")
    assert begun["split"] == 0.1
    assert begun["outcome"] == again["outcome"]
    assert (again["releases"], entry(world).decision_id) == (2, UNDER["decision"])
    assert entry(world).effective_from == APRILS_START

    release(world, None, end="drop", who="ada", why="no")
    late = release(world, **UNDER)
    assert late["releases"] == 3
    assert late["outcome"].endswith("was carried out before; since then ada: no")


@pytest.mark.parametrize(
    ("mode", "split"), [("direct", 0.0), ("shadow", 0.0), ("ab", 0.1), ("bandit", 0.1)]
)
def test_other_modes_begin_as_they_are_declared(challenged: World, mode: str, split: float) -> None:
    world = challenged.declared(rollout={"mode": mode, "steps": [0.1]})

    told = release(world, **UNDER)

    taken_over = mode == "direct"
    assert told["stable"] == tag(world, MARCH if taken_over else FEBRUARY)
    assert (told["mode"], told["split"]) == ("none" if taken_over else mode, split)


def test_a_canary_of_a_bundle_older_than_the_release_does_not_begin(challenged: World) -> None:
    world = challenged.declared(rollout=CANARY)
    new, later = tag(world, MARCH), datetime(2024, 4, 9, tzinfo=UTC)
    newest = entry(world)
    world.tools.ledger.append(
        type(newest)(
            "late_orders", later, later, newest.stable, "by hand 9", "by hand", "ada", "anew"
        )
    )

    told = release(world, **UNDER)

    assert told["outcome"] == (
        f"{new} stays a challenger: {newest.stable} has been in production since "
        f"2024-04-09 00:00, after {new} had been made."
    )


def test_with_manual_approval_a_person_begins_the_canary(challenged: World) -> None:
    world = challenged.declared(rollout=CANARY, retrain={"approval": "manual"})
    new = tag(world, MARCH)

    waiting = release(world, **UNDER)
    assert f"with candidate: {new}, who and why." in waiting["outcome"]

    begun = release(world, None, candidate=new, who="ada", why="looks right")
    assert (begun["mode"], begun["split"]) == ("canary", 0.1)


def test_a_step_decided_on_another_entry_is_not_taken(challenged: World) -> None:
    new = tag(challenged, MARCH)
    release(challenged, None, candidate=new, mode="canary", split=0.1)
    known = entry(challenged).release_id
    release(challenged, None, split=0.3, who="ada", why="faster")

    late = release(challenged, None, split=0.5, decision="d7", expects=known)
    assert late["outcome"] == (
        f"Nothing was changed. It was decided on release {known}; since then ada: faster"
    )
    taken = release(
        challenged, None, split=0.5, decision="d7", expects=entry(challenged).release_id
    )
    assert (taken["split"], taken["decision"]) == (0.5, "d7")


def test_a_candidate_that_was_taken_back_comes_again_only_where_it_is_named(
    challenged: World,
) -> None:
    world = challenged.declared(rollout=CANARY)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    release(world, **UNDER)
    release(world, None, end="drop", who="canary sensor", why="10 of 40 requests failed.")

    kept = [release(world, None)["outcome"], release(world, MARCH)["outcome"]]

    words = f"{new} was taken back by canary sensor: 10 of 40 requests failed. "
    assert kept == 2 * [f"{words}To release it all the same, name it as bundle."]
    assert (entry(world).stable, entry(world).candidate) == (old, None)
    assert release(world, None, bundle=new, who="ada", why="mended")["stable"] == new
    release(world, None, bundle=old, who="ada", why="back")
    assert release(world, None)["stable"] == new  # it was in production since


def test_a_challenger_waits_for_the_end_of_another_bundles_trial(challenged: World) -> None:
    for mode in ("canary", "direct"):
        world = challenged.declared(rollout={"mode": mode, "steps": [0.1]})
        old, new = tag(world, FEBRUARY), tag(world, MARCH)
        other = f"{new[:-1]}{'0' if new[-1] != '0' else '1'}"
        tried = replace(
            entry(world), candidate=other, mode="ab", split=0.5, decision_id=f"by hand {mode}",
            release_id="", who="ada", recorded_at=datetime.now(UTC),
        )  # fmt: skip
        world.tools.ledger.append(tried)

        for _ in range(2):
            told = release(world, **{**UNDER, "decision": f"decision of {mode}"})

        assert told["outcome"].startswith(
            f"{new} passed its gate and waits: {other} is tried beside {old} as ab with 0.5 of "
        )
        assert entry(world).decision_id == f"by hand {mode}"
    alerts = (challenged.home / "alerts.jsonl").read_text("utf-8").splitlines()
    assert sum("waits for the end of a trial" in line for line in alerts) == 2


def test_who_names_the_bundle_in_production_ends_the_trial_beside_it(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    release(challenged, None, candidate=new, split=0.5, who="ada", why="a look")

    told = release(challenged, None, bundle=old, who="ada", why="stop it")

    assert told["outcome"] == f"{old} is in production. The trial of {new} has ended."
    assert (entry(challenged).stable, entry(challenged).candidate) == (old, None)
    assert entry(challenged).why == "stop it"
    again = release(challenged, None, bundle=old, who="ada", why="stop it")
    assert (again["releases"], again["outcome"]) == (3, f"{old} is in production.")


def test_what_another_run_promoted_meanwhile_stays_promoted(
    challenged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = challenged.declared(rollout=CANARY)
    old, new = tag(world, FEBRUARY), tag(world, MARCH)
    release(world, None, candidate=new, mode="canary", split=0.5, who="ada", why="a look")
    told = promoted_meanwhile(world, monkeypatch)

    late = refused(world, split=0.7, who="ada", why="faster")

    assert len(told) == 1
    assert (entry(world).stable, entry(world).candidate) == (new, None)
    assert world.tools.ledger.history("late_orders")["stable"].to_list() == [old, old, new]
    assert f"{new} is alone in production" in late


def test_a_release_that_another_run_outran_is_decided_on_anew(
    challenged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = challenged.declared(rollout=CANARY)
    new = tag(world, MARCH)
    promoted_meanwhile(world, monkeypatch, new)

    told = release(world, **UNDER)

    assert (
        told["outcome"] == f"Nothing to change: {new} is in production, and no candidate beside it."
    )
    assert (entry(world).stable, entry(world).candidate) == (new, None)


def promoted_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch, bundle: str = ""
) -> list[Entry]:
    """Let another run promote the candidate, or that bundle, just before an entry is written."""
    told: list[Entry] = []
    append = AppendOnly.append

    def outrun(self: AppendOnly, *given: Any, **more: Any) -> dict[str, Any]:
        if self.name.asset == "release" and not told:
            tried = entry(world)
            ended = {"candidate": None, "mode": "", "split": 0.0, "release_id": ""}
            now = {"decision_id": "cc", "recorded_at": datetime.now(UTC)}
            told.append(replace(tried, stable=bundle or tried.candidate, **ended, **now))
            world.tools.ledger.append(told[0])
        return append(self, *given, **more)

    monkeypatch.setattr(AppendOnly, "append", outrun)
    return told
