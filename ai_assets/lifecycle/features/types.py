"""How a declared type is held in a frame."""

import polars as pl

TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "bool": pl.Boolean(),
    "datetime": pl.Datetime("us", "UTC"),
    "date": pl.Date(),
    # Pictures in one form, see `images.canonical`.
    "image": pl.Binary(),
    "text": pl.String(),
}
