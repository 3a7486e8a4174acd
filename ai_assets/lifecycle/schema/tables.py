"""The tables of a product, and the contract that each row must meet."""

from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.lifecycle.schema.personal import with_treated_columns
from ai_assets.lifecycle.schema.section import Section
from ai_assets.lifecycle.schema.sources import PATH, Source

ColumnType = Literal["string", "int64", "float64", "bool", "datetime", "date", "image", "text"]
ITEMS = ("image", "text")
"""Types whose values a model reads as a whole: pictures and language."""
NO_UNIT = "1"
"""Unit of numbers without one, which nobody converts: what is told of an image or a text."""
_TOKENS = 64


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
        description="Of rows with the same key: keep the first, keep the last, or reject all. Left "
        "out, a check warns where rows go whose other values differ.",
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
