"""Dagster instances with a history, of ours or of Dagster's own, and what was written to them."""

from pathlib import Path

import dagster as dg

OURS = "storage: {custom: {module: ai_assets.history, class: History, config: {base_dir: '%s'}}}"
DAGSTERS = "storage: {sqlite: {base_dir: '%s'}}"


@dg.asset
def number() -> int:
    return 7


def instance(folder: Path, storage: str = OURS) -> dg.DagsterInstance:
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(storage % folder, encoding="utf-8")
    return dg.DagsterInstance.from_config(str(folder))


def steps_of(found: dg.DagsterInstance, run_id: str) -> list[str]:
    return [e.dagster_event_type.value for e in found.all_logs(run_id) if e.dagster_event_type]
