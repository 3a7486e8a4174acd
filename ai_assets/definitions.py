"""The code location: what is declared under `products/`, and the outside world that it uses."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Every product's assets, bound to the default resources, run in process."""
    with definitions_are_kept():
        from ai_assets.automation.watching import location_sensors
        from ai_assets.resources import default_resources, warn_where_state_is_lost

        warn_where_state_is_lost()
        return dg.Definitions.merge(
            dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
            dg.Definitions(
                resources=default_resources(),
                executor=dg.in_process_executor,
                sensors=location_sensors(),
            ),
        )


@contextmanager
def definitions_are_kept() -> Iterator[None]:
    """Let the garbage collector neither look for garbage while definitions are made nor later.

    They and the modules that make them live as long as the process, and walking over them again
    and again took a third of the time of loading. That is why `defs` imports inside.
    """
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looking:
            gc.enable()
