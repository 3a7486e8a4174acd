"""The code location: what is declared under `products/`, and the outside world that it uses."""

from pathlib import Path

import dagster as dg

from ai_assets.loading import (
    definitions_are_kept,
    mistakes_are_told_first,
    yaml_is_read_by_libyaml,
)


@dg.definitions
def defs() -> dg.Definitions:
    """Every product's assets, bound to the default resources, run in process."""
    with definitions_are_kept(), yaml_is_read_by_libyaml(), mistakes_are_told_first():
        # imported here: modules too are kept
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
