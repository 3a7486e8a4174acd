"""Which bundle a row belongs to: a number of its key, the same wherever and whenever it comes.

A row is the candidate's where its number lies below the share. So a caller who asks about the same
row again meets the same bundle, a wider share keeps all rows that were the candidate's already, and
whoever has the log can compute each assignment again.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING

from ai_assets.serving.record.answers import Answered, Described
from ai_assets.serving.record.feedback import entity

if TYPE_CHECKING:
    from ai_assets.lifecycle.schema.tables import Table
    from ai_assets.serving.engine import Part

_BITS = 53  # as many as a float holds


def assigned(product: str, salt: str, key: str) -> float:
    """The number of a key, in [0, 1), as if drawn evenly.

    Args:
        product: name of the product.
        salt: tag of the candidate, so that each candidate meets other rows.
        key: JSON of the row's key, as the log has it; of a request without keys the id of its
            first prediction.
    """
    text = "\n".join((product, salt, key)).encode()
    return (int.from_bytes(blake2b(text, digest_size=8).digest()) >> (64 - _BITS)) / 2**_BITS


def keys_of(part: "Part", table: "Table") -> list[str]:
    """The key of each checked row, as the log has it.

    Args:
        part: rows, or a frame of the declared columns; not ready vectors, which have no keys.
        table: the request table, whose `key` counts.
    """
    import polars as pl

    if isinstance(part, pl.DataFrame):
        keys: Iterable[Mapping[str, object]] = part.select(table.key).iter_rows(named=True)
    else:
        keys = ({name: getattr(row, f"f_{name}") for name in table.key} for row in part)
    return [entity(key, table) for key in keys]


def assigned_again(entry: Answered, described: Mapping[str, Described]) -> list[str]:
    """The role that each row of an entry of the log should have, computed from the entry alone.

    Args:
        entry: one that was answered under a split.
        described: how to read the answers of each bundle, as the log has it.
    """
    split = entry.split
    if split is None:
        return [entry.role] * entry.rows
    product = entry.bundle.partition(":")[0]
    if split.by == "request":
        keys = entry.prediction_ids()[:1] * entry.rows
    else:
        from ai_assets.serving.record.decode import rows_of

        table = described[entry.bundle].table
        keys = [entity(row.key, table) for row in rows_of([entry], described)]
    theirs = [assigned(product, split.candidate, key) < split.share for key in keys]
    return ["candidate" if own and not split.fell_back else "stable" for own in theirs]
