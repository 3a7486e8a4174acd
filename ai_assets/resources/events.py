"""Training curves as TensorBoard's event files, beside MLflow's."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_assets.serving.place import state_root


def events_root() -> Path:
    """Where event files lie: `tensorboard --logdir` takes it."""
    return state_root() / "tensorboard"


def write_events(folder: Path, curve: Sequence[Mapping[str, float]]) -> None:
    """Append a curve to the event files of a folder.

    Args:
        folder: one run's own; TensorBoard names the run after it.
        curve: numbers by name at each step, with `step` (default: its position).
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        for place, row in enumerate(curve):
            values = [
                Summary.Value(tag=name, simple_value=float(value))
                for name, value in row.items()
                if name != "step"
            ]
            step = int(row.get("step", place))
            told = Summary(value=values)
            writer.add_event(Event(wall_time=time.time(), step=step, summary=told))
    finally:
        writer.close()
