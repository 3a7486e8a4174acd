"""`dg scaffold defs`: a component's first declaration, written from a person's own data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import dagster as dg
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from ai_assets.lifecycle.profile.declare import Asked


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


class ImageOptions(BaseModel):
    """What is said of the pictures; the rest is guessed."""

    data: str = Field(
        description="A folder of pictures, in subfolders named as what is on them, or with a table."
    )
    target: str | None = Field(
        default=None, description="Column of the table to predict; of subfolders what to call them."
    )
    table: str | None = Field(
        default=None, description="CSV or Parquet file in the folder. Default: looked for."
    )


class TextOptions(BaseModel):
    """What is said of the texts; the rest is guessed."""

    data: str = Field(
        description="Rows as for a table, or a folder of .txt files in subfolders or with a table."
    )
    target: str | None = Field(
        default=None, description="The column to predict; of subfolders what to call them."
    )
    text: str | None = Field(default=None, description="Column of the texts. Default: guessed.")
    table: str | None = Field(default=None, description="Table of the database, or in the folder.")
    query: str | None = Field(
        default=None, description="SELECT to run in the database, instead of a table."
    )


class _ProductScaffolder(dg.Scaffolder[Any]):
    """Profiles data and writes the files of a product, each guess with its reason."""

    kind: str

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the files of a product into the folder that is asked for.

        Raises:
            ClickException: the data cannot be read, or has nothing to predict.
        """
        # Imported here: polars is not needed to load the components.
        from ai_assets.lifecycle.errors import DeclarationError, UserError
        from ai_assets.lifecycle.naming import check_product_name
        from ai_assets.lifecycle.profile.declare import propose
        from ai_assets.lifecycle.profile.files import write

        try:
            if request.scaffold_format != "yaml":
                raise DeclarationError("A product is declared in YAML: leave out --format python.")
            check_product_name(request.target_path.name)
            write(request.target_path, propose(self._asked(request.params)))
        except UserError as error:
            _remove_if_empty(request.target_path)
            # A sentence for the person at the keyboard, without a traceback.
            raise click.ClickException(str(error)) from error

    def _asked(self, params: BaseModel) -> "Asked":
        from ai_assets.lifecycle.profile.declare import Asked

        given = params.model_dump()
        key = [name.strip() for name in (given.pop("key", None) or "").split(",") if name.strip()]
        return Asked(**given, key=key, kind=self.kind)


class TabularScaffolder(_ProductScaffolder):
    """Profiles a table and writes `defs.yaml` and `features.sql`, each guess with its reason."""

    kind = "tabular"

    @classmethod
    def get_scaffold_params(cls) -> type[TabularOptions]:
        return TabularOptions


class ImageScaffolder(_ProductScaffolder):
    """Profiles a folder of pictures and writes `defs.yaml`, each guess with its reason."""

    kind = "image"

    @classmethod
    def get_scaffold_params(cls) -> type[ImageOptions]:
        return ImageOptions


class TextScaffolder(_ProductScaffolder):
    """Profiles texts and writes `defs.yaml`, each guess with its reason."""

    kind = "text"

    @classmethod
    def get_scaffold_params(cls) -> type[TextOptions]:
        return TextOptions


def _remove_if_empty(folder: Path) -> None:
    """`dg` makes the folder first; left empty it would stand in the way of the next try."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
