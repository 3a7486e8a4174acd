"""The tables of a product: where they come from and the contract that each row must meet."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.lifecycle.schema.durations import Duration, parse_duration
from ai_assets.lifecycle.schema.notation import CsvForm, Notation
from ai_assets.lifecycle.schema.personal import with_treated_columns

ColumnType = Literal["string", "int64", "float64", "bool", "datetime", "date", "image", "text"]
ITEMS = ("image", "text")
"""Types whose values a model reads as a whole: pictures and language."""
NO_UNIT = "1"
"""Unit of numbers without one, which nobody converts: what is told of an image or a text."""
PATH = "path"
"""Column with the path of a row's file, unless a source names another."""
_TOKENS = 64


class Section(BaseModel):
    """A part of the declaration. Unknown fields are refused, with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in given:
                if name not in cls.model_fields and (near := did_you_mean(name, cls.model_fields)):
                    raise ValueError(f"'{name}' is not a field here.{near}")
        return given


class Column(Section):
    """The contract of one column. A row that breaks it goes to `rejected/<table>`."""

    type: ColumnType = Field(
        description="Type of the values. datetime is an instant in UTC; image is a picture (PNG, "
        "JPEG or numbers), brought to `size`; text is language, read token by token."
    )
    description: str = Field("", description="What the column holds, for people.")
    unit: str | None = Field(None, description="Unit of the values, such as minute or mile.")
    nullable: bool = Field(True, description="Whether a value may be missing. Keys never may.")
    min: float | None = Field(None, description="Smallest allowed value, in the column's unit.")
    max: float | None = Field(
        None,
        description="Largest allowed value, in the column's unit. Of an image given as numbers: "
        "the number that is white; default 255.",
    )
    allowed: list[Any] | None = Field(None, description="The only allowed values.")
    pattern: str | None = Field(
        None, description="Regular expression that a text must match as a whole."
    )
    example: Any = Field(None, description="A value to show in the served OpenAPI page.")
    known_at: str | None = Field(
        None,
        description="SQL over the row's own columns: the moment at which this value becomes known, "
        "when that is later than the request. A null moment means never.",
    )
    unknown: Literal["other", "reject"] = Field(
        "other",
        description="What the server does with a text it never saw in training: score it as "
        "'other', or refuse the row.",
    )
    personal: bool | Literal["drop", "hash", "mask", "generalize"] = Field(
        False,
        description="true: personal data, never shown, logged or exported. A treatment is applied "
        "before anything is kept, in `raw` already: drop leaves the column out; hash puts a "
        "pseudonym in place of each value (HMAC-SHA256 under a key of this installation), equal "
        "for equal values, so that rows can be joined, and what callers send; mask leaves the last "
        "characters; generalize makes it coarser, see `to`.",
    )
    to: int | float | Literal["year", "month"] | None = Field(
        None,
        description="Of `personal: generalize`: the step that numbers are rounded down to, how "
        "many characters a text keeps, or year or month of a date.",
    )
    sensitive: bool = Field(False, description="A group for which fairness is measured.")
    size: tuple[int, int] | None = Field(
        None, description="Of an image: [height, width] in pixels that models see."
    )
    channels: Literal[1, 3] | None = Field(
        None, description="Of an image: 1 is grey, which is the default, 3 is red-green-blue."
    )
    tokens: int | None = Field(
        None,
        ge=4,
        le=512,
        description="Of a text: how many tokens models see; the rest is cut off. Default: 64.",
    )

    @model_validator(mode="after")
    def _of_its_type(self) -> "Column":
        owners = {"size": "image", "channels": "image", "tokens": "text"}
        for field, owner in owners.items():
            if getattr(self, field) is not None and self.type != owner:
                raise ValueError(f"{field} belongs to type '{owner}', but type is '{self.type}'.")
        if self.type == "image" and (self.size is None or min(self.size) < 1):
            raise ValueError(
                "size must be [height, width] in pixels of an image, each at least 1, but got "
                f"{self.size and list(self.size)}."
            )
        return self

    @property
    def meaning(self) -> str:
        """What the column holds, and in which unit, for people; empty where neither is declared."""
        unit = f"(unit: {self.unit})" if self.unit and self.unit != NO_UNIT else ""
        return " ".join(part for part in (self.description, unit) if part)

    @property
    def shape(self) -> tuple[int, ...]:
        """What a model sees of a value: [height, width, channels], [tokens], or one number."""
        if self.type == "image":
            assert self.size is not None
            return (*self.size, self.channels or 1)
        return (self.tokens or _TOKENS,) if self.type == "text" else ()


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
    of the partitions.
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


SOURCE_KINDS = ("csv", "parquet", "ndjson", "delta", "sql", "http", "folder", "landing", "python")


class Table(Section):
    """A table of the product."""

    source: Source = Field(description="Where the rows come from.")
    description: str = Field("", description="What a row is, for people.")
    key: list[str] = Field(
        default_factory=list,
        description="Columns that identify a row. Without them a row is identified by its content.",
    )
    time: str | None = Field(
        None,
        description="Column with the row's event time. With it the table is partitioned when the "
        "product is; without it the table is a static lookup.",
    )
    columns: dict[str, Column] = Field(description="The contract: every column, in order.")
    plain: dict[str, Column] = Field(
        default_factory=dict,
        description="Not to be declared: the contract of personal columns before treatment, which "
        "is taken from `columns`.",
    )
    ignore: list[str] = Field(
        default_factory=list, description="Columns of the source that are known and left out."
    )
    known_at: str | None = Field(
        None,
        description="SQL over the row's own columns: when the row becomes known. Default: its "
        "`time` for history tables; ahead of time for the table of requests.",
    )
    duplicates: Literal["first", "last", "reject"] = Field(
        "first",
        description="Of rows with the same key: keep the first, keep the last, or reject all.",
    )
    max_rejected: float = Field(
        0.01, ge=0, le=1, description="Largest tolerated share of rejected rows before blocking."
    )

    @model_validator(mode="before")
    @classmethod
    def _personal_columns_are_treated(cls, given: Any) -> Any:
        return with_treated_columns(given) if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def _files_are_found_again(cls, given: Any) -> Any:
        """Declares the column of paths, where nobody did, so that every row leads to its file."""
        source, columns = _part(given, "source"), _part(given, "columns")
        path = source.get("path", PATH)
        if not source.get("folder") or not isinstance(path, str) or path in columns:
            return given
        words = "Path of the file, relative to the folder"
        declared = {"type": "string", "description": words, "known_at": "NULL"}
        return given | {"columns": {path: declared, **columns}}

    @model_validator(mode="after")
    def _files_are_items(self) -> "Table":
        if self.source.folder is not None and self.item_of_files is None:
            there = [n for n, c in self.columns.items() if c.type in ITEMS]
            raise ValueError(
                "columns must have one column of type 'image', or else one of type 'text', which "
                f"the files of source.folder are read into, but got {there or 'none'}."
            )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> "Table":
        if nameless := [name for name in self.columns if not name.strip()]:
            raise ValueError(
                f"columns must have a name each, but got '{nameless[0]}'. Name it in the "
                "source, or list it under 'ignore'."
            )
        named = [("key", name) for name in self.key]
        named += [("time", self.time)] if self.time else []
        named += [("source.label", self.source.label)] if self.source.label else []
        for field, name in named:
            if name not in self.columns:
                raise ValueError(
                    f"{field} must name a declared column, but got '{name}'."
                    f"{did_you_mean(name, self.columns)}"
                )
        if self.time and self.columns[self.time].type not in ("datetime", "date"):
            raise ValueError(
                f"time must name a column of type datetime or date, but '{self.time}' is "
                f"{self.columns[self.time].type}."
            )
        return self

    @property
    def pseudonyms(self) -> set[str]:
        """Columns whose values are other ones under the key of another installation."""
        return {name for name, column in self.plain.items() if column.personal == "hash"}

    @property
    def identified_by_pseudonyms(self) -> bool:
        """Whether a row's id is made of one: of its key, or without a key of all it has."""
        return not self.pseudonyms.isdisjoint(self.key or self.columns)

    @property
    def item_of_files(self) -> str | None:
        """The column that a folder's files are read into: the one image, or else the one text."""
        for kind in ITEMS:
            found = [name for name, column in self.columns.items() if column.type == kind]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    @property
    def late_columns(self) -> dict[str, str]:
        """Columns that become known late, with the SQL that says when."""
        return {name: c.known_at for name, c in self.columns.items() if c.known_at is not None}


def _part(given: Any, name: str) -> dict[str, Any]:
    """A part of what is declared, as it will be; nothing where it is no section at all."""
    found = given.get(name) if isinstance(given, dict) else None
    if isinstance(found, BaseModel):
        return found.model_dump()
    return found if isinstance(found, dict) else {}
