"""Files of a landing folder on their way into `raw`: which were taken, and where they lie."""

from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import ColumnsError
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.landing import Landed, content_digest, look_into, taken
from ai_assets.lifecycle.sources.request import with_variables
from ai_assets.serving.place import state_root
from ai_assets.stages import shown


def landing_folder(product: Product, name: str, table: Table) -> Path:
    """Where the table's files land: as declared, or `landing/<product>/<table>` of the state."""
    landing = table.source.landing
    assert landing is not None, "only of tables that declare it"
    if landing.folder is None:
        return state_root() / "landing" / product.name / name
    given = Path(with_variables(landing.folder, "landing.folder")).expanduser()
    return product.folder / given


def files_of(product: Product, name: str, table: Table) -> tuple[Landed, ...]:
    """The complete files that are the table at this moment; none of other sources."""
    if table.source.landing is None:
        return ()
    folder = landing_folder(product, name, table)
    return taken(table.source.landing, look_into(folder, table.source.landing))


def told_of(files: tuple[Landed, ...]) -> dict[str, Any]:
    """What `raw` records of the files that it read, beside the version that they became."""
    if not files:
        return {}
    rows = [(file.path.name, file.size, content_digest(file)) for file in files]
    table = pl.DataFrame(rows, schema=["file", "bytes", "sha256"], orient="row")
    return {"landed": shown.table(table), "file": files[-1].path.name}


def naming_files(error: ColumnsError, files: tuple[Landed, ...]) -> ColumnsError:
    """The error with the file that has these columns; files of one source have the same."""
    if not files:
        return error
    return ColumnsError(f"{error}\nRead from '{files[-1].path}'.", error.problems)
