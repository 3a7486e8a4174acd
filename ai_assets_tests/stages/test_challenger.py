"""Challenger against champion in the graph: the gate, release under a decision, and rollback."""

import json
from datetime import UTC, datetime

import pytest
from challengers import (
    APRILS_START,
    DECISION,
    OF_A_MODEL,
    STEEP,
    UNDER,
    gate_of,
    of_release,
    release,
    tag,
)
from small_product import (
    APRIL,
    FEATURES,
    FEBRUARY,
    LEARNING,
    MARCH,
    World,
    failure,
    finding,
)

from ai_assets.lifecycle.retraining.decide import Decision
from ai_assets.stages.operations import became_of


def in_april(world: World) -> str:
    entry = world.tools.ledger.as_of("late_orders", APRILS_START)
    assert entry is not None
    return entry.stable


def test_the_first_bundle_has_nobody_to_be_compared_with(shared_world: World) -> None:
    gate = gate_of(shared_world, FEBRUARY)

    assert (gate["passed"], gate["champion"], gate["comparison"]) == (True, None, [])
    assert finding(shared_world.runs["model"], "better_than_the_champion") == (
        True,
        "There is no other bundle in production to compare with.",
    )


def test_the_gate_compares_with_the_champion_on_the_challengers_test_rows(
    challenged_world: World,
) -> None:
    gate = gate_of(challenged_world)
    (row,) = gate["comparison"]

    assert (gate["bundle"], gate["champion"]) == (
        tag(challenged_world, MARCH),
        tag(challenged_world, FEBRUARY),
    )
    assert (row["rows"], row["count"]) == ("all", 180)
    judged = challenged_world.metadata("evaluation", MARCH)["log_loss"]
    assert row["challenger"] == pytest.approx(judged)
    assert row["difference"] == pytest.approx(row["challenger"] - row["champion"])
    assert row["difference"] < 0
    assert gate["passed"] is True
    passed, words = finding(challenged_world.runs["challenger"], "better_than_the_champion")
    assert passed and str(words).startswith("The challenger is better: log_loss 0.")
    told = challenged_world.metadata("gate", MARCH)["challenger_minus_champion"]
    assert told == row["difference"]


def test_a_challenger_that_is_not_better_enough_loses_and_the_run_goes_on(
    challenged: World,
) -> None:
    world = challenged.declared(gate__champion=STEEP)

    result = world.run("gate", partition=MARCH)

    assert result.success
    passed, words = finding(result, "better_than_the_champion")
    assert not passed and str(words).startswith("The challenger is not better enough: log_loss 0.")
    assert gate_of(world)["passed"] is False
    assert finding(result, "within_limits")[0]


def test_a_limit_that_is_not_met_stops_the_run(challenged: World) -> None:
    world = challenged.declared(gate__min={"roc_auc": 0.99})

    result = world.run("gate", "release", partition=MARCH, raises=False)

    assert not result.success
    assert not finding(result, "within_limits")[0]
    assert finding(result, "better_than_the_champion")[0]
    assert in_april(world) == tag(world, FEBRUARY)


def test_a_challenger_of_a_decision_that_misses_a_limit_stays_out_and_the_run_goes_on(
    challenged: World,
) -> None:
    world = challenged.declared(gate__min={"roc_auc": 0.99})

    result = world.run(
        "gate", "release", partition=MARCH, config=of_release(UNDER), decision=DECISION
    )

    assert result.success
    passed, words = finding(result, "within_limits")
    assert not passed and "roc_auc" in str(words)
    assert in_april(world) == tag(world, FEBRUARY)
    assert str(world.metadata("release")["outcome"]).startswith(
        f"{tag(world, MARCH)} stays a challenger: "
    )


def test_without_a_declared_comparison_none_is_made(challenged: World) -> None:
    folder = challenged.product.folder
    text = (folder / "defs.yaml").read_text(encoding="utf-8")
    (folder / "defs.yaml").write_text(
        text.replace("  gate:\n", "  gate:\n    champion: null\n"), encoding="utf-8"
    )
    world = World.of(folder, challenged.home)

    result = world.run("gate", partition=MARCH)

    assert finding(result, "better_than_the_champion") == (
        True,
        "No comparison with a champion is declared.",
    )


def test_only_rows_after_what_the_champion_learned_from_are_compared(challenged: World) -> None:
    """With half of two months to test on, test rows begin in what the champion learned from."""
    world = challenged.declared(training__split={"validation": 0.1, "test": 0.6})
    world.run(*LEARNING, partition=MARCH)

    test = world.rows("training_set", MARCH).filter(split="test")
    (row,) = [row for row in gate_of(world)["comparison"] if row["rows"] == "all"]

    assert test["event_time"].min() < datetime(2024, 3, 1, tzinfo=UTC)
    in_march = test.filter(test["event_time"] >= datetime(2024, 3, 1, tzinfo=UTC))
    assert row["count"] == in_march.height < test.height


def test_a_champion_that_may_have_seen_all_test_rows_is_not_compared(challenged: World) -> None:
    release(challenged)
    world = challenged.declared(training__seed=5)

    result = world.run(*OF_A_MODEL, partition=MARCH)

    champion = in_april(world)
    assert champion != tag(world, MARCH)
    assert finding(result, "better_than_the_champion") == (
        True,
        f"{champion} may have learned from these test rows, so it is not compared on them.",
    )


def test_a_champion_with_another_feature_query_is_scored_by_its_own(challenged: World) -> None:
    before = gate_of(challenged)["comparison"][0]["champion"]
    query = FEATURES.replace("v.load\n", "v.load * 2 AS load\n")
    assert query != FEATURES
    (challenged.product.folder / "features.sql").write_text(query, encoding="utf-8")
    world = World.of(challenged.product.folder, challenged.home)
    world.run("features", partition=FEBRUARY, last=MARCH)
    world.run(*LEARNING, partition=MARCH)

    assert gate_of(world)["comparison"][0]["champion"] == pytest.approx(before)


def test_what_callers_could_no_longer_send_is_refused_until_the_major_version_is_raised(
    challenged: World,
) -> None:
    narrower = {"type": "float64", "min": 0, "max": 9.99}
    world = challenged.declared(tables__orders__columns__weight=narrower)
    world.run("bundle", partition=MARCH)
    result = world.run("gate", partition=MARCH)

    passed, words = finding(result, "callers_can_still_call")
    assert not passed
    assert words == (
        "Callers would break: weight must be at most 9.99, was 10.0. "
        "Declare gate.major one higher if so intended."
    )
    assert gate_of(world)["passed"] is False

    world = challenged.declared(tables__orders__columns__weight=narrower, gate__major=2)
    world.run("bundle", partition=MARCH)
    result = world.run("gate", partition=MARCH)

    assert finding(result, "callers_can_still_call")[0]
    assert gate_of(world)["passed"] is True


def test_a_challenger_that_passed_takes_over_under_its_decision(challenged: World) -> None:
    decision = Decision(DECISION, "late_orders", MARCH, "retrain", "covariate_drift", 0.7, "moved")
    now = datetime(2024, 4, 1, tzinfo=UTC)
    challenged.tools.decisions.record(decision, {}, who="retraining sensor", recorded_at=now)

    metadata = release(challenged, **UNDER)

    challenger = tag(challenged, MARCH)
    assert metadata["stable"] == challenger
    assert metadata["outcome"] == f"{challenger} is in production."
    assert metadata["releases"] == 2
    entry = challenged.tools.ledger.as_of("late_orders", APRILS_START)
    assert entry is not None
    assert (entry.stable, entry.decision_id, entry.cause) == (
        challenger,
        DECISION,
        "covariate_drift",
    )
    assert (entry.who, entry.why) == ("retraining sensor", "weight has moved")
    assert entry.effective_from == APRILS_START
    assert json.loads(entry.gate)["passed"] is True


def test_what_a_decision_started_links_to_its_evidence(challenged: World) -> None:
    world = challenged
    decision = Decision(DECISION, "late_orders", MARCH, "retrain", "covariate_drift", 0.7, "moved")
    evidence = {"verdict": {"cause": "covariate_drift"}, "run_id": "the-run-that-judged"}
    now = datetime(2024, 4, 1, tzinfo=UTC)
    world.tools.decisions.record(decision, evidence, who="retraining sensor", recorded_at=now)

    world.run("evaluation", partition=MARCH)
    alone = world.metadata("evaluation", MARCH)
    world.run("evaluation", partition=MARCH, decision=DECISION)
    asked = world.metadata("evaluation", MARCH)
    world.run("evaluation", partition=MARCH, decision="another")

    assert asked["decided"] == "retrain, by retraining sensor: moved"
    assert (asked["decision"], asked["evidence_partition"]) == (DECISION, MARCH)
    assert asked["evidence"] == world.key("verdict")
    assert asked["evidence_run"] == "the-run-that-judged"
    assert "decision" not in alone
    assert "decision" not in world.metadata("evaluation", MARCH)


def test_releasing_again_under_the_same_decision_changes_nothing(challenged: World) -> None:
    release(challenged, **UNDER)
    version = challenged.version("release")

    again = release(challenged, **UNDER)

    assert (again["releases"], challenged.version("release")) == (2, version)


def test_a_decision_keeps_the_champion_where_the_gate_says_no(challenged: World) -> None:
    world = challenged.declared(gate__champion=STEEP)

    result = world.run("gate", "release", partition=MARCH, config=of_release(UNDER))

    assert result.success
    metadata = world.metadata("release")
    assert metadata["stable"] == tag(world, FEBRUARY) == in_april(world)
    assert metadata["releases"] == 1
    assert metadata["outcome"].startswith(
        f"{tag(world, MARCH)} stays a challenger: The challenger is not better enough"
    )


def test_by_hand_what_did_not_pass_is_refused_unless_overridden(challenged: World) -> None:
    world = challenged.declared(gate__champion=STEEP)

    refused = world.run("gate", "release", partition=MARCH, raises=False)

    # Of what it met nothing is said: that is not why.
    assert "did not pass its gate: The challenger is not better enough" in failure(refused)
    assert in_april(world) == tag(world, FEBRUARY)

    release(world, override_gate=True, who="ada", why="we know better")
    entry = world.tools.ledger.as_of("late_orders", APRILS_START)
    assert entry is not None
    assert (entry.stable, entry.cause, entry.who) == (tag(world, MARCH), "by hand", "ada")
    assert entry.why == "we know better (gate overridden)"


def test_with_manual_approval_a_challenger_waits_for_a_persons_word(challenged: World) -> None:
    world = challenged.declared(retrain={"approval": "manual"})

    waiting = release(world, **UNDER)

    challenger = tag(world, MARCH)
    assert waiting["stable"] == tag(world, FEBRUARY) == in_april(world)
    assert waiting["outcome"] == (
        f"{challenger} passed its gate and waits for approval. Approve it by materializing "
        f"late_orders/release with bundle: {challenger}, who and why."
    )

    release(world, **UNDER)
    (told,) = (world.home / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    alert = json.loads(told)
    assert (alert["kind"], alert["words"]) == ("approval", waiting["outcome"])
    assert alert["evidence"] == {"decision": DECISION, "bundle": challenger}

    approved = release(world, None, bundle=challenger, who="ada", why="looks right")

    assert approved["stable"] == challenger == in_april(world)
    assert release(world, **UNDER)["releases"] == 2


def test_the_page_of_operations_says_what_became_of_the_challenger(challenged: World) -> None:
    """Whether it waits, is tried or was released: not merely that it passed its gate."""

    def said(world: World) -> str:
        return became_of(world.step("operations"), decision, gate_of(world))

    challenger = tag(challenged, MARCH)
    manual = challenged.declared(retrain={"approval": "manual"})
    (recorded,) = manual.tools.ledger.history("late_orders")["recorded_at"].to_list()
    decision = {"decision_id": DECISION, "recorded_at": recorded}
    assert said(manual) == "waits for approval"
    release(manual, None, candidate=challenger)
    assert said(manual) == "on trial"
    release(manual, None, end="drop")
    assert said(manual) == "taken back"
    release(manual, None, bundle=challenger)
    assert said(manual) == "released"


def test_a_rollback_changes_the_next_predictions_and_none_that_were_made(
    challenged: World,
) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    data = ("raw/orders", "raw/visits", "cleaned/orders", "cleaned/visits", "rejected/orders")
    challenged.run(*data, "features", "labels", partition=APRIL)

    def scored(month: str) -> tuple[list[str], list[str]]:
        challenged.run("predictions", partition=month)
        rows = challenged.rows("predictions", month)
        return rows["bundle"].unique().to_list(), rows["release_id"].unique().to_list()

    release(challenged, **UNDER)
    release(challenged, None, bundle=old, who="ada", why="back")
    in_march, in_april_ = scored(MARCH), scored(APRIL)
    release(challenged, None, bundle=new, who="ada", why="forward again")

    # March was scored before the rollback and April after it: made anew, both stay what they were.
    assert in_march[0] == in_april_[0] == [old] and in_march[1] != in_april_[1]
    assert (scored(MARCH), scored(APRIL)) == (in_march, in_april_)
    history = challenged.tools.ledger.history("late_orders")
    assert history["stable"].to_list() == [old, new, old, new]
    assert history["cause"].to_list() == ["first release", "decision", "by hand", "by hand"]
    moments = [datetime(2024, month, 1, tzinfo=UTC) for month in (3, 4, 4, 5)]
    assert history["effective_from"].to_list() == moments
    named = [challenged.tools.ledger.as_of("late_orders", moment) for moment in moments]
    assert [entry.stable for entry in named if entry] == [old, old, old, new]


def test_a_decision_does_not_undo_a_rollback_when_its_run_is_repeated(challenged: World) -> None:
    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    release(challenged, **UNDER)
    release(challenged, None, bundle=old, who="ada", why="it was wrong")

    metadata = release(challenged, **UNDER)

    assert (metadata["stable"], metadata["releases"]) == (old, 3)
    assert metadata["outcome"] == (
        f"Decision {DECISION} was carried out before, with {new}; since then ada has put {old} "
        "into production: it was wrong."
    )


def test_the_registry_follows_what_is_in_production_now(challenged: World) -> None:
    def champion() -> str:
        client = challenged.tools.tracker.client()
        return str(client.get_model_version_by_alias("late_orders", "champion").tags["bundle"])

    old, new = tag(challenged, FEBRUARY), tag(challenged, MARCH)
    release(challenged, **UNDER)
    assert champion() == new
    release(challenged, None, bundle=old)
    assert champion() == old


def test_a_release_of_an_earlier_moment_leaves_what_is_in_production_now(
    challenged: World,
) -> None:
    new = tag(challenged, MARCH)
    release(challenged, **UNDER)

    metadata = release(challenged, FEBRUARY, who="ada", why="again")

    assert metadata["stable"] == new
    client = challenged.tools.tracker.client()
    champion = client.get_model_version_by_alias("late_orders", "champion")
    assert champion.tags["bundle"] == new
