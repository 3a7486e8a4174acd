"""A tick of the landing sensor: a complete file that is new has its table read, once."""

import json
from collections.abc import Mapping

import dagster as dg

from ai_assets.automation.watching import RETRIES
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.landing import Look, identity, look_into, taken
from ai_assets.stages.landing import landing_folder

FILE_TAG = "ai_assets/landed"


def tick(context: dg.SensorEvaluationContext, product: Product) -> dg.SensorResult:
    """Ask for a run of `raw` for each table whose files are others than those asked for last.

    The run's key is made of the files' names, sizes and times: with a lost cursor, after a restart
    or beside another daemon the same files start nothing again, whether their run failed or not.
    """
    asked: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    requests, said = [], []
    for name, table in landing_tables(product).items():
        landing = table.source.landing
        assert landing is not None
        folder = landing_folder(product, name, table)
        if landing.folder is None:
            folder.mkdir(parents=True, exist_ok=True)
        look = look_into(folder, landing)
        files = taken(landing, look)
        found = identity(files) if files else ""
        if not files or asked.get(name) == found:
            said.append(f"{name}: no new file in {folder}.{_beside(look)}")
            continue
        asked[name] = found
        newest = files[-1].path.name
        requests.append(
            dg.RunRequest(
                run_key=f"{product.name}/{name}/{found}",
                asset_selection=[dg.AssetKey(product.asset(f"raw/{name}").key)],
                tags={FILE_TAG: newest, "dagster/max_retries": str(RETRIES)},
            )
        )
        context.log.info(f"{name}: {newest} has landed in {folder}.{_beside(look)}")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " ".join(said),
        cursor=json.dumps(asked, sort_keys=True),
    )


def landing_tables(product: Product) -> Mapping[str, Table]:
    """The tables whose files land in a folder."""
    tables = product.declaration.tables.items()
    return {name: table for name, table in tables if table.source.landing is not None}


def _beside(look: Look) -> str:
    """What lies there that is not read, so that nobody waits for it in vain."""
    said = []
    if look.unsettled:
        said.append(f" Still being written: {', '.join(look.unsettled)}.")
    if look.ignored:
        said.append(f" No table by their ending: {', '.join(look.ignored)}.")
    return "".join(said)
