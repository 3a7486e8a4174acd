"""Training curves as TensorBoard reads them."""

from pathlib import Path

import pytest

from ai_assets.resources.events import events_root, write_events


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What the real TensorBoard finds in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(point.step, pytest.approx(point.value)) for point in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_tensorboard_reads_a_curve_back(tmp_path: Path) -> None:
    curve = [{"step": 5.0, "train": 0.9, "validation": 0.95}, {"step": 6.0, "train": 0.8}]

    write_events(tmp_path / "run", curve)

    found = _scalars(tmp_path / "run")
    assert found == {"train": [(5, 0.9), (6, 0.8)], "validation": [(5, 0.95)]}


def test_a_curve_without_steps_is_counted(tmp_path: Path) -> None:
    write_events(tmp_path / "run", [{"loss": 3.0}, {"loss": 2.0}])

    assert _scalars(tmp_path / "run") == {"loss": [(0, 3.0), (1, 2.0)]}


def test_event_files_lie_below_the_state_root(state: Path) -> None:
    assert events_root() == state / "tensorboard"
