"""Which parts of `fairness` make which assets stale: those that decide what is learned, alone."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hiring import write

from ai_assets.lifecycle.fairness.groups import Protected
from ai_assets.lifecycle.product import read_product
from ai_assets.stages import binding, stages_of
from ai_assets.stages.binding import StageRun, Tools, code_version
from ai_assets.stages.protected import not_compared

SET, LEARNED = {"training_set"}, {"tuning", "model/linear", "model"}


def versions(folder: Path, mitigation: str, **declared: Any) -> dict[str, str]:
    """The code version of each asset that teaches, and of one that only judges."""
    file = write(folder, biased=False, mitigation=mitigation, **declared)
    stages = {stage.asset: stage for stage in stages_of(read_product(file))}
    asked = (stages[name] for name in sorted(SET | LEARNED | {"evaluation"}))
    return {stage.asset: code_version(tuple(stage.code), stage.settings) for stage in asked}


@pytest.mark.parametrize(
    ("mitigation", "changed", "stale"),
    [
        ("none", {"columns": ["club"], "features": ["club"]}, set()),
        ("none", {"max_difference": 0.2}, set()),
        ("reweighing", {"max_difference": 0.2}, set()),
        ("reweighing", {"min_rows": 80}, set()),
        ("reweighing", {"metric": "equal_opportunity"}, set()),
        ("reweighing", {"columns": ["team", "club"], "features": ["club"]}, SET | LEARNED),
        ("reductions", {"max_difference": 0.2}, LEARNED),
        ("reductions", {"min_rows": 80}, SET | LEARNED),
        ("reductions", {"metric": "equal_opportunity"}, SET | LEARNED),
        ("reductions", {"columns": ["team", "club"], "features": ["club"]}, SET | LEARNED),
    ],
)
def test_what_a_mitigation_reads_makes_stale_what_learns_and_nothing_else_does(
    tmp_path: Path, mitigation: str, changed: dict[str, Any], stale: set[str]
) -> None:
    before = versions(tmp_path / "before", mitigation)
    after = versions(tmp_path / "after", mitigation, **changed)

    assert {name for name in before if before[name] != after[name]} == stale | {"evaluation"}


@pytest.mark.parametrize(
    ("mitigation", "searched"), [("none", set()), ("reweighing", set()), ("reductions", {"tuning"})]
)
def test_a_search_depends_on_how_scores_are_calibrated_where_rows_weigh_by_it(
    tmp_path: Path, mitigation: str, searched: set[str]
) -> None:
    none, sigmoid = (
        versions(tmp_path / method, mitigation, training={"calibration": method})
        for method in ("none", "sigmoid")
    )

    stale = {name for name in none if none[name] != sigmoid[name]}
    assert stale == {"model/linear", "model"} | searched


@pytest.mark.parametrize(
    ("mitigation", "threads"), [("none", None), ("reweighing", 1), ("reductions", 1)]
)
def test_an_evaluation_asks_for_cores_where_it_learns_the_twin_without(
    tmp_path: Path, mitigation: str, threads: int | None
) -> None:
    file = write(tmp_path / "hiring", biased=False, mitigation=mitigation)
    stages = {stage.asset: stage for stage in stages_of(read_product(file))}

    assert stages["evaluation"].threads == threads


def test_another_mitigation_makes_stale_what_learns(tmp_path: Path) -> None:
    none, reweighing, reductions = (
        versions(tmp_path / name, name) for name in ("none", "reweighing", "reductions")
    )

    for name in SET | LEARNED:
        assert len({none[name], reweighing[name], reductions[name]}) == 3


def test_code_that_says_what_is_alike_teaches_under_a_mitigation_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("none", "reweighing", "reductions")
    before = {name: versions(tmp_path / name, name) for name in kinds}
    digest = binding._source_digest
    monkeypatch.setattr(
        binding, "_source_digest", lambda name: digest(name) + "!" * (name == "fairness")
    )
    after = {name: versions(tmp_path / "changed" / name, name) for name in kinds}

    def stale(kind: str) -> set[str]:
        return {name for name in before[kind] if before[kind][name] != after[kind][name]}

    assert stale("none") == {"evaluation"}
    assert stale("reweighing") == stale("reductions") == SET | LEARNED | {"evaluation"}


@pytest.mark.parametrize(
    ("mitigation", "metric", "rows", "lacking"),
    [
        ("reductions", "equalized_odds", 400, []),
        ("reductions", "equalized_odds", 300, ["'team' of 'hired'"]),
        ("reductions", "demographic_parity", 60, ["'team'"]),
        ("reweighing", "demographic_parity", 60, []),
    ],
)
def test_what_rows_are_too_few_to_compare_is_named(
    tmp_path: Path, mitigation: str, metric: str, rows: int, lacking: list[str]
) -> None:
    """Of ten rows two are hired, one of each team; 40 that count are needed of each."""
    file = write(
        tmp_path / "hiring", biased=False, mitigation=mitigation, metric=metric, min_rows=40
    )
    product = read_product(file)
    assert product.declaration.fairness is not None
    groups = np.tile([0, 1], rows // 2)[:, None]
    y = np.tile(np.repeat([1.0, 0.0], [2, 8]), rows // 10)
    run = StageRun(product, None, tools=cast(Tools, None))

    told = not_compared(run, Protected(groups, product.declaration.fairness), y)

    assert told == lacking
