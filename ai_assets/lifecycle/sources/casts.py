"""Values of a source as a declared type, and as text, as polars expressions."""

import polars as pl

from ai_assets.lifecycle.features.tokens import normal_text
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.schema.notation import FALSE, TRUE

_INSTANT = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?)?"
    r"\s*(?:Z|z|UTC|([+-])(\d{2}):?(\d{2})?)?$"
)


def cast(name: str, given: pl.DataType, wanted: str) -> pl.Expr:
    """A column as the declared type; a value that cannot be one becomes null."""
    value = pl.col(name)
    if given == pl.Null:
        return value.cast(TYPES[wanted]).alias(name)
    if wanted == "text":
        return value.cast(pl.String, strict=False).map_batches(_normal, return_dtype=pl.String)
    if given == TYPES[wanted]:
        return value.fill_nan(None) if wanted == "float64" else value
    if given == pl.String and wanted != "string":
        return _from_text(value.str.strip_chars(), wanted).alias(name)
    return _from_native(value, given, wanted).alias(name)


def text_of(name: str, given: pl.DataType) -> pl.Expr:
    """A column as text, which `cast` reads back; nested values as JSON, bytes as hexadecimal."""
    value = pl.col(name)
    if given.is_nested():
        encoded = pl.struct(value).struct.json_encode()
        return pl.when(value.is_not_null()).then(encoded).alias(name)
    if given == pl.Binary:
        return value.bin.encode("hex")
    return value.cast(pl.String, strict=False)


def _normal(given: pl.Series) -> pl.Series:
    """Texts in one form; what holds nothing is missing."""
    return pl.Series(
        given.name,
        [None if v is None else normal_text(v) or None for v in given.to_list()],
        pl.String,
    )


def _from_text(text: pl.Expr, wanted: str) -> pl.Expr:
    if wanted == "int64":
        # "15.0" is 15, as integer columns with gaps are often written; "15.5" is no integer.
        # The float only steps in where the text is no integer, so large integers stay exact.
        number = text.cast(pl.Float64, strict=False)
        whole = pl.when(number == number.floor()).then(number)
        return pl.coalesce(text.cast(pl.Int64, strict=False), whole.cast(pl.Int64, strict=False))
    if wanted == "float64":
        number = text.cast(pl.Float64, strict=False)
        return pl.when(number.is_not_nan()).then(number)
    if wanted == "bool":
        word = text.str.to_lowercase()
        truth = pl.when(word.is_in(TRUE)).then(True)
        return truth.when(word.is_in(FALSE)).then(False)
    if wanted == "datetime":
        return parse_datetime(text)
    has_clock = text.str.contains(r"^\d{4}-\d{2}-\d{2}[T ]")
    day = pl.when(has_clock).then(parse_datetime(text)).cast(pl.Date)
    return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), day)


def parse_datetime(text: pl.Expr) -> pl.Expr:
    """An instant in UTC from ISO 8601 text; without an offset the text is taken as UTC.

    The offset is split off and subtracted, so one expression reads `Z`, `+02:00` and none.
    """
    parts = text.str.extract_groups(_INSTANT)
    part = [parts.struct.field(str(i)) for i in range(1, 8)]
    local = (
        pl.format(
            "{}T{}{}{}",
            part[0],
            part[1].fill_null("00:00"),
            part[2].fill_null(":00"),
            part[3].fill_null(""),
        )
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        .dt.replace_time_zone("UTC")
    )
    minutes = part[5].cast(pl.Int64, strict=False).fill_null(0) * 60 + part[6].cast(
        pl.Int64, strict=False
    ).fill_null(0)
    sign = pl.when(part[4] == "-").then(-1).otherwise(1)
    return local - pl.duration(minutes=minutes * sign)


def _from_native(value: pl.Expr, given: pl.DataType, wanted: str) -> pl.Expr:
    if wanted == "datetime" and isinstance(given, pl.Datetime):
        instant = value.dt.cast_time_unit("us")
        if given.time_zone is None:
            return instant.dt.replace_time_zone("UTC")
        return instant.dt.convert_time_zone("UTC")
    if wanted == "datetime" and given == pl.Date:
        return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if wanted == "datetime" or (wanted == "date" and not given.is_temporal()):
        return pl.lit(None, TYPES[wanted])  # a bare number names no moment without its unit
    if wanted == "int64" and given.is_float():
        return pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)
    if wanted == "bool" and given.is_numeric():
        return pl.when(value == 1).then(True).when(value == 0).then(False)
    if wanted == "string" and given.is_nested():
        return pl.when(value.is_not_null()).then(pl.struct(value).struct.json_encode())
    if wanted in ("int64", "float64") and given.is_temporal():
        return pl.lit(None, TYPES[wanted])
    return value.cast(TYPES[wanted], strict=False)
