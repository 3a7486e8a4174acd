"""From the body of a request to typed rows, or to details that say what to mend."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic import create_model as pydantic_model
from pydantic_core import from_json

from ai_assets.lifecycle.errors import BundleError, did_you_mean
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.columns import ColumnCheck, example, picture
from ai_assets.serving.observe.exchange import timed
from ai_assets.serving.problems import MOST_DETAILS, Detail, Refused, refusal

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_EPOCH_DAY = _EPOCH.toordinal()


class RequestReader:
    """Reads bodies: one row, a list of rows, or `{"rows": [...]}`, by the product's own names."""

    def __init__(self, bundle: Bundle, *, max_rows: int) -> None:
        self.table = bundle.request.table
        self.checks = column_checks(self.table, bundle.encoding)
        self.model = request_model(self.table, bundle.encoding, bundle.request.name)
        self._late = [
            n for n, c in bundle.tables[bundle.request.name].columns.items() if c.known_at
        ]
        self.max_rows = max_rows
        self.reads_files = any(c.type == "image" for c in self.table.columns.values())

    @timed("validate")
    def rows(self, body: bytes) -> list[BaseModel]:
        """The checked rows of a body.

        Raises:
            Refused: with status 400 and what is wrong with which field of which row, or 413.
        """
        found: list[BaseModel] = []
        details: list[Detail] = []
        for number, given in enumerate(self._given(body)):
            if not isinstance(given, dict):
                message = f"A row must be an object, but got {_kind(given)}."
                details.append(Detail(number, None, given, "an object", message))
                continue
            try:
                found.append(self.model.model_validate(self._bounded(given)))
            except ValidationError as error:
                details += [self._detail(number, given, e) for e in error.errors(include_url=False)]
            if len(details) >= MOST_DETAILS:
                break
        if details:
            raise refusal(details)
        return found

    def frame(self, rows: list[BaseModel]) -> "pl.DataFrame":
        """The rows as a frame of the declared types."""
        import polars as pl

        given = [row.__dict__ for row in rows]
        return pl.DataFrame(
            [
                _series(name, [values[f"f_{name}"] for values in given], dtype)
                for name, dtype in self.schema.items()
            ]
        )

    @cached_property
    def schema(self) -> dict[str, "pl.DataType"]:
        """The types of the frame's columns."""
        from ai_assets.lifecycle.features.types import TYPES

        return {name: TYPES[c.type] for name, c in self.table.columns.items()}

    def example(self) -> dict[str, Any]:
        """A row made of the declared examples."""
        columns = self.table.columns.items()
        return {name: example(c) for name, c in columns if c.example is not None}

    def _given(self, body: bytes) -> list[Any]:
        try:
            content = from_json(body, allow_inf_nan=True)
        except ValueError as error:
            raise Refused(400, f"The body must be JSON, but {error}.") from error
        if isinstance(content, dict) and ROWS in content and ROWS not in self.table.columns:
            for name in content:
                if name != ROWS:
                    message = f"'{name}' is not a field beside 'rows'."
                    raise Refused(400, message, [Detail(None, name, None, [ROWS], message)])
            content = content[ROWS]
            if not isinstance(content, list):
                raise Refused(400, f"'rows' must be a list of rows, but is {_kind(content)}.")
        if isinstance(content, dict):
            return [content]
        if not isinstance(content, list):
            allowed = "a row, a list of rows or an object with 'rows'"
            raise Refused(400, f"The body must be {allowed}, but is {_kind(content)}.")
        if not content:
            raise Refused(400, "There must be at least one row, but the list is empty.")
        if len(content) > self.max_rows:
            raise Refused(
                413, f"There must be at most {self.max_rows} rows, but there are {len(content)}."
            )
        return content

    def missing(self, name: str, given: Iterable[str], row: int | None = None) -> Detail:
        """What to say where a required column is not among those given."""
        unused = list(islice((n for n in given if n not in self.table.columns), MOST_DETAILS))
        message = f"The field '{name}' is required, but missing."
        words = self.table.columns[name].description or self.table.columns[name].type
        return Detail(row, name, None, words, message, partial(_given_as, name, unused))

    def unknown(self, name: str, row: int | None = None) -> Detail:
        """What to say of a column that the request does not have."""
        names = list(self.table.columns)
        if name in self._late:
            message = f"'{name}' becomes known only after the answer; leave it out."
            return Detail(row, name, None, names, message)
        message = f"'{name}' is not a field of the request."
        # An unknown field may be anything, personal data too: its value is not repeated.
        return Detail(row, name, None, names, message, partial(did_you_mean, name, names))

    def _bounded(self, given: dict[str, Any]) -> dict[str, Any]:
        """A row with no more unknown fields than are told of: each costs some time."""
        if len(given) <= len(self.checks) + MOST_DETAILS:
            return given
        known = {name: given[name] for name in self.checks if name in given}
        return known | dict(islice(((n, None) for n in given if n not in known), MOST_DETAILS))

    def _detail(self, row: int, given: dict[str, Any], error: Any) -> Detail:
        name = str(error["loc"][0])
        if error["type"] == "missing":
            return self.missing(name, given, row)
        if error["type"] == "extra_forbidden":
            return self.unknown(name, row)
        context = error.get("ctx", {})
        return told_by(row, name, context)


def told_by(row: int | None, name: str, context: Mapping[str, Any]) -> Detail:
    """The detail of what a `ColumnCheck` refused, by its error's context."""
    given, allowed, message = (context[part] for part in ("given", "allowed", "message"))
    return Detail(row, name, given, allowed, message, context["hint"])


def column_checks(table: Table, encoding: Encoding) -> dict[str, ColumnCheck]:
    """The check of each column.

    Keys, the time and what is not nullable must be given; other fields may be null or left out.
    """
    checks = {}
    for column, declared in table.columns.items():
        required = not declared.nullable or column in table.key or column == table.time
        known = None
        if declared.unknown == "reject" and declared.type == "string":
            known = _known(column, encoding)
        checks[column] = ColumnCheck(column, declared, required, known)
    return checks


def request_model(table: Table, encoding: Encoding, name: str) -> type[BaseModel]:
    """The pydantic model of a row: own field names, descriptions, units, ranges, examples."""
    fields: dict[str, Any] = {}
    for column, check in column_checks(table, encoding).items():
        kind: Any = Annotated[Any, PlainValidator(check), WithJsonSchema(check.json_schema())]
        if check.column.type == "image":
            told = partial(picture, shape=check.column.shape)
            kind = Annotated[kind, PlainSerializer(told, when_used="json-unless-none")]
        # The prefix keeps a column named `json` or `_x` from clashing with pydantic's attributes.
        fields[f"f_{column}"] = (kind, Field(... if check.required else None, alias=column))
    return pydantic_model(f"{name}_row", __base__=_Row, __doc__=table.description or None, **fields)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known(column: str, encoding: Encoding) -> frozenset[str]:
    for feature in encoding.columns:
        if feature.name == column and feature.kind == "categorical":
            return frozenset(feature.categories)
    raise BundleError(
        f"'{column}' declares `unknown: reject`, so the feature query must select it under its own "
        "name: what was seen in training is known of features only."
    )


def _series(name: str, values: Sequence[Any], dtype: "pl.DataType") -> "pl.Series":
    """A column of checked values. Of moments polars makes whole numbers much more slowly."""
    import polars as pl

    if dtype == pl.Date():
        days = [None if day is None else day.toordinal() - _EPOCH_DAY for day in values]
        return pl.Series(name, days, pl.Int32).cast(dtype)
    if dtype.is_temporal():
        since = [None if moment is None else (moment - _EPOCH) // _MICROSECOND for moment in values]
        return pl.Series(name, since, pl.Int64).cast(dtype)
    return pl.Series(name, values, dtype)


def _given_as(name: str, unused: Iterable[str]) -> str:
    near = get_close_matches(name, [n for n in unused if len(n) <= 3 * len(name)], n=1)
    return f" Was it given as '{near[0]}'?" if near else ""


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")
