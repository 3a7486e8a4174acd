"""Where the rows of a table come from."""

import re
from typing import Literal

from pydantic import Field, model_validator

from ai_assets.lifecycle.schema.durations import Duration, parse_duration
from ai_assets.lifecycle.schema.notation import CsvForm, Notation
from ai_assets.lifecycle.schema.section import Section

PATH = "path"
"""Column with the path of a row's file, unless a source names another."""


class SqlSource(Section):
    """A query against a database."""

    url: str = Field(description="SQLAlchemy or ADBC URL. Environment variables are expanded.")
    query: str | None = Field(None, description="The SELECT to run; or give `table`.")
    table: str | None = Field(None, description="The table to read whole; or give `query`.")

    @model_validator(mode="after")
    def _one_of(self) -> "SqlSource":
        if (self.query is None) == (self.table is None):
            raise ValueError("sql must have exactly one of 'query' and 'table'.")
        return self


class HttpSource(Section):
    """A file behind HTTP(S)."""

    url: str = Field(description="Address; may hold {start}, {end}, {partition} like a path.")
    format: Literal["csv", "parquet", "ndjson"] = Field("csv", description="Format of the body.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Request headers. Environment variables are expanded."
    )
    timeout: float = Field(60.0, description="Limit for connecting and for each read, in seconds.")


class Landing(Section):
    """A folder in which whole files arrive: CSV, Parquet or NDJSON, by the ending of their name.

    A sensor looks into it and has the table read once a file. Files are never moved or removed.
    """

    folder: str | None = Field(
        None,
        description="Path of the folder. Environment variables are expanded. Default: "
        "`landing/<product>/<table>` of the state folder.",
    )
    rows: Literal["newest", "all"] = Field(
        "newest",
        description="newest: the file with the newest content is the whole table, a snapshot. all: "
        "the rows of all files, oldest first; with `duplicates: last` newer rows replace older.",
    )
    settled: Duration = Field(
        default_factory=lambda: parse_duration("10 seconds"),
        description="A file is complete when it has not changed for so long. Whoever writes more "
        "slowly writes to a name that begins with a dot or ends in .part, and renames it.",
    )
    first: str | None = Field(
        None,
        description="`module.function` that gives the rows until a file has landed, as "
        "source.python does.",
    )


class Source(Section):
    """Where a table's rows come from: exactly one of the kinds, plus how to read it.

    A path or address may be a template over `{partition}`, `{start:%Y-%m}` and `{end}`. With or
    without one, a partition takes only the rows whose time lies in it; what else a partition's own
    file holds is read by none, such as hours of a month that ends in another time zone than that
    of the partitions. A check of the raw table counts it and warns.
    """

    csv: str | None = Field(None, description="Path, glob or URL of CSV files.")
    parquet: str | None = Field(None, description="Path, glob or URL of Parquet files.")
    ndjson: str | None = Field(None, description="Path, glob or URL of newline-delimited JSON.")
    delta: str | None = Field(None, description="Path or URL of a Delta table.")
    sql: SqlSource | None = Field(None, description="A database.")
    http: HttpSource | None = Field(None, description="A file behind HTTP(S).")
    folder: str | None = Field(
        None,
        description="Path of a folder of files, an item each, its subfolders included: pictures "
        "(PNG, JPEG, BMP, GIF, TIFF, WebP) for the column of type image, else .txt for that of "
        "type text. Each row also has the column `path`.",
    )
    landing: Landing | None = Field(
        None, description="A folder in which new files arrive; only of tables without partitions."
    )
    python: str | None = Field(
        None,
        description="`module.function` beside the YAML, or an importable one. Called with "
        "(start, end), both None when unpartitioned; returns a polars frame, lazy or not.",
    )
    label: str | None = Field(
        None,
        description="Of a folder: the column that the name of its subfolder gives, "
        "as 7 of 7/a.png.",
    )
    index: str | None = Field(
        None,
        description="Of a folder: a CSV or Parquet file in it that has a row for each item, with "
        "the path of its file and the other columns. What it does not name is not read.",
    )
    path: str = Field(
        PATH,
        description="Of a folder: the column with the path of a row's file, relative to the "
        "folder. Not asked of callers unless it is declared among the columns.",
    )
    null_values: list[str] = Field(
        default_factory=lambda: ["", "NA"], description="Texts that mean missing, in CSV."
    )
    delimiter: str = Field(",", description="Separator of fields, in CSV.")
    encoding: str = Field("utf-8", description="Text encoding, in CSV and of .txt files.")
    decimal: Literal[".", ","] = Field(".", description="Mark before decimals, in CSV.")
    thousands: Literal["", ".", ",", " ", "'"] = Field(
        "", description="Mark between thousands, in CSV; none unless one is given."
    )
    dates: list[str] = Field(
        default_factory=list,
        description="How dates and instants are written in CSV where that is not ISO 8601: formats "
        "of strptime such as '%d.%m.%Y %H:%M', of which the first that fits a value counts. "
        "Without an offset (%z) times are UTC.",
    )

    @property
    def form(self) -> CsvForm:
        """How CSV files of the source are written."""
        notation = Notation(self.decimal, self.thousands, tuple(self.dates))
        return CsvForm(self.delimiter, self.encoding, tuple(self.null_values), notation, utc=True)

    @model_validator(mode="after")
    def _form_is_clear(self) -> "Source":
        if unclear := self.form.unclear("source."):
            raise ValueError(unclear)
        return self

    @model_validator(mode="after")
    def _exactly_one(self) -> "Source":
        if len(self.kinds_given()) != 1:
            raise ValueError(
                f"source must have exactly one of {', '.join(SOURCE_KINDS)}, "
                f"but got {self.kinds_given() or 'none'}."
            )
        for field in ("label", "index", "path"):
            given = getattr(self, field) != type(self).model_fields[field].default
            if self.folder is None and given:
                raise ValueError(
                    f"source.{field} belongs to source.folder, but the source is {self.kind}."
                )
        if self.index is not None and self.label is not None:
            raise ValueError(
                f"source.label is the name of a subfolder, for folders without source.index, but "
                f"got label '{self.label}' and index '{self.index}'."
            )
        return self

    def kinds_given(self) -> list[str]:
        return [kind for kind in SOURCE_KINDS if getattr(self, kind) is not None]

    @property
    def kind(self) -> str:
        return self.kinds_given()[0]

    @property
    def place(self) -> str | None:
        """The path or address as it is written; None of a source that has none."""
        given = getattr(self, self.kind)
        place = given.url if isinstance(given, HttpSource) else given
        return place if isinstance(place, str) else None

    @property
    def is_template(self) -> bool:
        """Whether where the rows lie depends on the partition."""
        return self.place is not None and _OF_A_PARTITION.search(self.place) is not None


# `${start}` is an environment variable, and `{{` a brace.
_OF_A_PARTITION = re.compile(r"(?<![${])\{(partition|start|end)[:!}.\[]")
SOURCE_KINDS = ("csv", "parquet", "ndjson", "delta", "sql", "http", "folder", "landing", "python")
