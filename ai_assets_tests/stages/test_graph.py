"""The graph that users see, against the picture of it that a person has reviewed.

After a change that is meant: `.venv/bin/python ai_assets_tests/stages/test_graph.py` writes
graph.json anew; read what changed in it before committing it.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ai_assets.definitions import defs

REVIEWED = Path(__file__).with_name("graph.json")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def picture(definitions: dg.Definitions) -> dict[str, Any]:
    """Each asset with its edges, tags, group, partitions and checks, as JSON."""
    graph = definitions.resolve_asset_graph()
    checks = {
        key.to_user_string(): [
            {"name": check.name, "blocking": graph.get_check_spec(check).blocking}
            for check in sorted(graph.get_check_keys_for_assets([key]), key=lambda c: c.name)
        ]
        for key in graph.get_all_asset_keys()
    }
    return {
        spec.key.to_user_string(): {
            "stage": spec.tags["stage"],
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "partitioned": spec.partitions_def is not None,
            "earlier_partitions": {
                dep.asset_key.to_user_string(): -dep.partition_mapping.start_offset
                for dep in spec.deps
                if isinstance(dep.partition_mapping, dg.TimeWindowPartitionMapping)
            },
            "reads": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "checks": checks[spec.key.to_user_string()],
        }
        for spec in definitions.resolve_all_asset_specs()
    }


def test_the_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    assert picture(definitions) == json.loads(REVIEWED.read_text(encoding="utf-8"))


def test_every_asset_says_what_it_is_whose_it_is_and_of_which_version(
    specs: dict[str, dg.AssetSpec],
) -> None:
    for key, spec in specs.items():
        assert spec.description and len(spec.description) >= 20, key
        assert spec.description.rstrip().endswith((".", "?", "15")), (key, spec.description)
        assert spec.owners and spec.kinds and spec.code_version and spec.tags["stage"], key
        assert spec.group_name == key.split("/")[0]


def test_every_check_says_in_words_what_it_guards(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    for check in graph.asset_check_keys:
        description = graph.get_check_spec(check).description or ""
        assert len(description.split()) >= 5 and description.endswith("."), check


def test_every_asset_that_is_read_exists_and_none_waits_for_itself(
    specs: dict[str, dg.AssetSpec], definitions: dg.Definitions
) -> None:
    reads = {key: {d.asset_key.to_user_string() for d in s.deps} for key, s in specs.items()}
    place = {
        key.to_user_string(): number
        for number, key in enumerate(definitions.resolve_asset_graph().toposorted_asset_keys)
    }

    for key, upstream in reads.items():
        assert upstream <= set(specs), key
        assert all(place[other] < place[key] for other in upstream), key


def test_all_assets_of_a_product_lead_from_raw_data_to_a_release_a_report_or_a_verdict(
    specs: dict[str, dg.AssetSpec],
) -> None:
    read = {dep.asset_key.to_user_string() for spec in specs.values() for dep in spec.deps}

    ends: dict[str, set[str]] = {}
    for key, spec in specs.items():
        if key not in read:
            ends.setdefault(spec.group_name or "", set()).add(spec.tags["stage"])

    looked_at = {"drift_report", "scored_file", "served_drift"}
    assert ends["flight_delay"] == looked_at | {"operations"}
    # Without partitions there are no months to lay side by side: the verdict is the last word.
    assert ends["digit_reading"] == looked_at | {"verdict"}
    assert ends["question_topic"] == looked_at | {"verdict"}
    assert ends["telco_churn"] == looked_at | {"verdict"}
    assert {s.tags["stage"] for s in specs.values() if not s.deps} == {"raw", "served", "feedback"}


def test_stages_of_data_take_a_range_of_partitions_in_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    ranges = {
        graph.get(key).tags["stage"]
        for key in graph.get_all_asset_keys()
        if graph.get(key).backfill_policy == dg.BackfillPolicy.single_run()
    }

    data = {"raw", "cleaned", "rejected", "labels", "features", "predictions", "drift"}
    assert ranges == data | {"served", "feedback", "served_drift"}


def test_partition_keys_are_the_same_for_dagster_and_for_the_lifecycle() -> None:
    from ai_assets.lifecycle.partitions import Partitions
    from ai_assets.stages.binding import dagster_partitions

    for every, start in {
        "month": "2024-01-01",
        "week": "2024-01-07",
        "day": "2024-03-09",
        "hour": "2024-03-09",
    }.items():
        declared = Partitions.model_validate(
            {"every": every, "start": start, "end": "2024-04-01", "timezone": "America/New_York"}
        )
        bound = dagster_partitions(declared)
        assert bound is not None
        keys = list(bound.get_partition_keys())
        for key in (keys[0], keys[1], keys[-1]):
            window, span = bound.time_window_for_partition_key(key), declared.span(key)
            assert (window.start.timestamp(), window.end.timestamp()) == (
                span.start.timestamp(),
                span.end.timestamp(),
            )
            assert declared.key_at(span.start) == key


if __name__ == "__main__":
    text = json.dumps(picture(defs()), indent=1, sort_keys=True)
    REVIEWED.write_text(f"{text}\n", encoding="utf-8")
