"""`dg scaffold defs`: a component's first declaration, written from a file of rows."""

from pathlib import Path

import click
import dagster as dg
from pydantic import BaseModel, Field


class TabularOptions(BaseModel):
    """What is said of the data; the rest is guessed."""

    data: str = Field(
        description="A CSV, NDJSON (gzip or zstd too) or Parquet file, a folder of Parquet files, "
        "their address (http, s3, …), or the URL of a database."
    )
    target: str = Field(description="The column to predict.")
    key: str | None = Field(
        default=None, description="Columns that identify a row, split by commas. Default: guessed."
    )
    time: str | None = Field(
        default=None, description="Column of a row's moment; '' is none. Default: guessed."
    )
    table: str | None = Field(default=None, description="Table of the database.")
    query: str | None = Field(
        default=None, description="SELECT to run in the database, instead of a table."
    )


class TabularScaffolder(dg.Scaffolder[TabularOptions]):
    """Profiles a table and writes `defs.yaml` and `features.sql`, each guess with its reason."""

    @classmethod
    def get_scaffold_params(cls) -> type[TabularOptions]:
        return TabularOptions

    def scaffold(self, request: dg.ScaffoldRequest[TabularOptions]) -> None:
        """Write the files of a product into the folder that is asked for.

        Raises:
            ClickException: the data cannot be read, or has nothing to predict.
        """
        # Imported here: polars is not needed to load the components.
        from ai_assets.lifecycle.errors import DeclarationError, UserError
        from ai_assets.lifecycle.naming import check_product_name
        from ai_assets.lifecycle.profile.declare import Asked, propose
        from ai_assets.lifecycle.profile.files import write

        asked = request.params
        key = [name.strip() for name in (asked.key or "").split(",") if name.strip()]
        try:
            if request.scaffold_format != "yaml":
                raise DeclarationError("A product is declared in YAML: leave out --format python.")
            check_product_name(request.target_path.name)
            files = propose(
                Asked(asked.data, asked.target, key, asked.time, asked.table, asked.query)
            )
            write(request.target_path, files)
        except UserError as error:
            _remove_if_empty(request.target_path)
            # A sentence for the person at the keyboard, without a traceback.
            raise click.ClickException(str(error)) from error


def _remove_if_empty(folder: Path) -> None:
    """`dg` makes the folder first; left empty it would stand in the way of the next try."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
