"""Assets that return and take frames, kept in the lake. The annotation chooses eager or lazy."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.naming import AssetName
from ai_assets.resources.lake import PARTITION, Lake, TableVersion, write_metadata

if TYPE_CHECKING:
    import polars as pl


class LakeIOManager(dg.ConfigurableIOManager):
    """Stores what an asset returns as its partition of a table, and loads it for others.

    An asset that runs over a range of partitions returns the rows of all with a column
    `_partition`; they are replaced in one commit. An input over several partitions holds the rows
    of all of them, in order. An asset that returns None has stored its data itself.
    """

    lake: dg.ResourceDependency[Lake]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        import polars as pl

        if obj is None:
            return
        if not isinstance(obj, pl.LazyFrame | pl.DataFrame):
            raise DataError(
                f"What {context.asset_key.to_user_string()} returns must be a polars LazyFrame, a "
                f"DataFrame or None, but got {type(obj).__name__}."
            )
        name = asset_name(context.asset_key)
        written = self._write(name, obj, _keys(context))
        schema = pl.Schema({k: v for k, v in obj.collect_schema().items() if k != PARTITION})
        context.add_output_metadata(write_metadata(written, schema))

    def load_input(self, context: dg.InputContext) -> "pl.LazyFrame | pl.DataFrame":
        import polars as pl

        name = asset_name(context.asset_key)
        lazy = self.lake.scan(name, _keys(context))
        return lazy.collect() if context.dagster_type.typing_type is pl.DataFrame else lazy

    def _write(
        self, name: AssetName, frame: "pl.LazyFrame | pl.DataFrame", keys: list[str] | None
    ) -> TableVersion:
        if keys is None:
            return self.lake.replace(name, frame, None)
        several = PARTITION in frame.collect_schema()
        if len(keys) == 1 and not several:
            return self.lake.replace(name, frame, keys[0])
        if not several:
            raise DataError(
                f"Rows of {name.path} for {len(keys)} partitions must have a column {PARTITION} "
                "that says whose each row is."
            )
        written = self.lake.replace_many(name, frame, keys)
        versions = list(written.values())
        return TableVersion(versions[0].version, sum(v.rows for v in versions), "")


def asset_name(key: dg.AssetKey) -> AssetName:
    """The name in the lake of a Dagster asset key `[product, …]`."""
    if len(key.path) < 2:
        raise DataError(
            f"An asset key must be a product and a name to lie in the lake, but got "
            f"'{key.to_user_string()}'."
        )
    return AssetName(key.path[0], "/".join(key.path[1:]))


def _keys(context: dg.InputContext | dg.OutputContext) -> list[str] | None:
    return list(context.asset_partition_keys) if context.has_asset_partitions else None
