"""Why a bundle is in production, and why something was or was not done: by value, from records."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_product import FEBRUARY, JANUARY, MARCH, NAME, World

from ai_assets import why as command
from ai_assets.automation.why import Records, why_decision, why_release
from ai_assets.automation.why.words import chain_text
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.retraining.decide import decide
from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.verdict.evidence import Evidence, Verdict
from ai_assets.resources.ledger import Entry

MOVED = Evidence("covariate_drift", "psi", "weight", 0.41, 0.2, "weight has moved.", 0.67)
APRIL_FIRST = datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def records(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The small product's records, with decisions and a second release of this file's own."""
    home = tmp_path_factory.mktemp("why") / "world"
    shutil.copytree(shared_world.home, home, symlinks=True)
    tools = World.of(shared_world.product.folder, home).tools
    made = Records(shared_world.product, tools.lake, tools.bundles, tools.ledger, tools.decisions)
    stable = made.releases()[0]["stable"]
    nothing = Verdict(NAME, FEBRUARY, stable, "none", 0.0, "Nothing has changed.", [], True)
    drifted = Verdict(NAME, MARCH, stable, "covariate_drift", 0.67, "weight moved.", [MOVED], True)
    record(made, nothing, "wait", datetime(2024, 3, 2, tzinfo=UTC))
    decision = record(made, drifted, "retrain", APRIL_FIRST)
    gate = json.loads(made.releases()[0]["gate"])
    made.ledger.append(
        Entry(
            product=NAME,
            effective_from=APRIL_FIRST,
            recorded_at=APRIL_FIRST,
            stable=stable,
            decision_id=decision,
            cause="covariate_drift",
            who="retraining sensor",
            why="weight moved.",
            gate=json.dumps(gate),
        )
    )
    return made


def record(records: Records, verdict: Verdict, action: str, at: datetime) -> str:
    decision = decide(verdict, Retrain())
    assert decision.action == action
    evidence = {"verdict": json.loads(verdict.to_json()), "run_id": "run-7"}
    records.decisions.record(decision, evidence, who="retraining sensor", recorded_at=at)
    return decision.decision_id


def test_a_release_leads_through_decision_verdict_and_gate_to_data_and_code(
    records: Records, shared_world: World
) -> None:
    chain = why_release(records)

    first, second = records.releases()
    assert chain["release"]["release_id"] == second["release_id"]
    assert chain["release"]["effective_from"] == "2024-04-01T00:00:00+00:00"
    assert chain["replaced"] == first["stable"]
    assert (chain["decision"]["action"], chain["decision"]["partition"]) == ("retrain", MARCH)
    rules = {rule["rule"]: rule["allows"] for rule in chain["decision"]["rules"]}
    assert rules == dict.fromkeys(("cause", "cooldown", "budget", "cost"), True)
    (evidence,) = chain["verdict"]["evidence"]
    assert (evidence["subject"], evidence["value"], evidence["limit"]) == ("weight", 0.41, 0.2)
    assert Path(chain["drift_report"]).is_file()
    assert chain["gate"]["passed"] is True
    assert chain["gate"]["limits"][0]["limit"] == "roc_auc"
    assert chain["bundle"]["learned_from"] == [JANUARY, FEBRUARY]
    versions = chain["bundle"]["data_versions"]
    assert versions["features"] == records.lake.version(records.product.asset("features"))
    assert set(chain["bundle"]["code_versions"]) == {
        "cleaned/orders", "cleaned/visits", "cleaned/shops", "labels", "features",
    }  # fmt: skip


def test_a_release_is_asked_for_by_moment_or_by_id(records: Records) -> None:
    first, second = records.releases()

    def found(at: str) -> Any:
        return why_release(records, at)["release"]["release_id"]

    assert found("2024-03-31T23:59:59") == first["release_id"]
    assert found("2024-04-01") == second["release_id"]
    assert found("2024-04-01T01:30:00+02:00") == first["release_id"]
    assert found(second["decision_id"]) == second["release_id"]
    assert found(first["release_id"]) == first["release_id"]


def test_a_release_by_hand_says_so(records: Records) -> None:
    chain = why_release(records, "2024-03-01")

    assert chain["decision"] is None and chain["verdict"] is None
    assert "made by hand" in chain["note"]
    assert (chain["release"]["who"], chain["replaced"]) == ("operator", None)


def test_a_moment_before_the_first_release_and_an_unknown_id_are_errors(records: Records) -> None:
    with pytest.raises(DataError, match=r"late_orders was in production at 2024-02-01T00:00:00"):
        why_release(records, "2024-02-01")
    mistyped = records.releases()[1]["release_id"][:-1] + "x"
    with pytest.raises(DataError) as error:
        why_release(records, mistyped)
    assert f"Did you mean '{records.releases()[1]['release_id']}'?" in str(error.value)


def test_a_decision_is_found_by_partition_and_by_id(records: Records) -> None:
    waited, retrained = why_decision(records, FEBRUARY), why_decision(records, MARCH)

    assert (waited["decision"]["action"], waited["note"]) == ("wait", "Nothing was trained.")
    assert (waited["gate"], waited["bundle"], waited["releases"]) == (None, None, [])
    assert retrained["note"] == "The challenger that it asked for was released."
    assert retrained["releases"] == [records.releases()[1]["release_id"]]
    by_id = why_decision(records, retrained["decision"]["decision_id"])
    assert by_id == retrained


def test_an_unknown_decision_is_an_error_with_the_nearest(records: Records) -> None:
    with pytest.raises(DataError) as error:
        why_decision(records, "2024-03-02")

    assert "There is no decision '2024-03-02'." in str(error.value)
    assert "Did you mean '2024-03-01'?" in str(error.value)


def test_a_bundle_that_is_gone_keeps_its_place_in_the_chain(
    records: Records, tmp_path: Path
) -> None:
    emptied = Records(
        records.product,
        records.lake,
        type(records.bundles)(home=str(tmp_path)),
        records.ledger,
        records.decisions,
    )

    facts = why_release(emptied)["bundle"]

    assert facts["tag"] == records.releases()[1]["stable"]
    assert facts["problem"].startswith(f"There is no bundle '{facts['tag']}'.")
    assert facts["problem"] in chain_text(why_release(emptied))


def test_the_text_has_every_link_in_order(records: Records) -> None:
    text = chain_text(why_release(records))

    links = [line for line in text.splitlines() if line and not line.startswith(" ")]
    second = records.releases()[1]
    assert links == [
        f"Release {second['release_id']} of late_orders",
        f"Decision {second['decision_id']}: retrain",
        f"Verdict on {MARCH}: covariate_drift",
        "Gate: passed",
        f"Bundle {second['stable']}",
    ]
    assert "    weight has moved." in text
    assert "    ✓ cooldown: There was no retraining before." in text
    (limit,) = [line.split() for line in text.splitlines() if line.startswith("    roc_auc")]
    assert limit[2:] == ["at", "least", "0.6", "yes"]


@pytest.fixture
def at_home(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "of", classmethod(lambda cls, name: records))


def test_the_command_prints_text_or_json(at_home: None, capsys) -> None:
    assert command.main(["decision", NAME, MARCH]) == 0
    text = capsys.readouterr().out
    assert command.main(["decision", NAME, MARCH, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)

    assert text.startswith(f"Decision {told['decision']['decision_id']}: retrain\n")
    assert told["verdict"]["cause"] == "covariate_drift"


def test_the_command_says_what_is_wrong_and_ends_with_an_error(at_home: None, capsys) -> None:
    assert command.main(["release", NAME, "--at", "1999-01-01"]) == 2

    assert "was in production at 1999-01-01" in capsys.readouterr().err


def test_an_unknown_product_is_named_with_the_nearest(capsys) -> None:
    assert command.main(["release", "flight_delays"]) == 2

    assert "Did you mean 'flight_delay'?" in capsys.readouterr().err
