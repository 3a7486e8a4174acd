"""What draws by chance is made anew when the seed of its chance changes."""

from pathlib import Path
from typing import Any

import pytest
from small_product import write_product

from ai_assets.lifecycle.product import read_product
from ai_assets.stages import stages_of
from ai_assets.stages.binding import code_version


def test_a_report_over_a_sample_is_drawn_anew_by_another_seed_or_of_another_size(
    tmp_path: Path,
) -> None:
    def versions(name: str, **drift: int) -> dict[str, str]:
        product = read_product(write_product(tmp_path / name, drift=drift))
        asked = {stage.asset: stage for stage in stages_of(product)}
        wanted = (asked["drift_report"], asked["labels"])
        return {s.asset: code_version(tuple(s.code), s.settings) for s in wanted}

    before, again = versions("before"), versions("again")
    seed, sample = versions("seed", seed=7), versions("sample", sample=500)

    assert before == again
    assert len({each["drift_report"] for each in (before, seed, sample)}) == 3
    assert before["labels"] == seed["labels"] == sample["labels"]


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ({"training__seed": 7}, True),
        ({"training__costs": {"missed": 5, "false_alarm": 1}}, True),
        ({"training__families": ["linear", "lightgbm"]}, False),
    ],
)
def test_performance_is_stale_by_the_parts_of_training_that_it_draws_and_judges_by(
    tmp_path: Path, changed: dict[str, Any], stale: bool
) -> None:
    def version(folder: Path) -> str:
        stages = {stage.asset: stage for stage in stages_of(read_product(folder))}
        return code_version(stages["performance"].code, stages["performance"].settings)

    before = version(write_product(tmp_path / "before"))
    after = version(write_product(tmp_path / "after", **changed))

    assert (before != after) == stale
