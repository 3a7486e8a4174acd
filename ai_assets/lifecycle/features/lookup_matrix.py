"""The matrix that models read, straight from what a query computed and what its lookups found.

The columns of a table that is looked up in are encoded once; then a row's part of the matrix is a
row of the table's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.lookups import Output

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class LookupMatrix:
    """How the outputs of a query with lookups become the columns of the matrix.

    Args:
        encoding: the columns of the matrix.
        outputs: those of the query.
        computed: types of the computed columns whose values are plain, by name.
        shown: for each lookup the columns of its table that are outputs, a row of nulls last.
    """

    def __init__(
        self,
        encoding: Encoding,
        outputs: Sequence[Output],
        computed: "Mapping[str, pl.DataType]",
        shown: "Sequence[Sequence[pl.Series]]",
    ) -> None:
        self.encoding = encoding
        by_name = {output.name: output for output in outputs}
        self._computed: list[tuple[slice, EncodedColumn]] = []
        found: dict[int, list[int]] = {}
        self.is_whole = True
        for place, column in zip(encoding.places, encoding.columns, strict=True):
            output = by_name.get(column.name)
            if output is not None and output.lookup is not None:
                # Images and texts of a lookup would be kept encoded, all of them.
                self.is_whole = self.is_whole and not column.shape
                found.setdefault(output.lookup, []).append(place.start)
            elif output is not None and column.takes_plain(computed.get(column.name)):
                self._computed.append((place, column))
            else:
                self.is_whole = False
        # In the order of the matrix's columns, whichever order the tables have.
        self._found = [
            (lookup, places, _encoded(encoding, places, shown[lookup]))
            for lookup, places in found.items()
        ]

    def of(
        self, computed: Mapping[str, Sequence[Any]], places: Sequence[Sequence[int]], rows: int
    ) -> "np.ndarray":
        """The matrix of so many rows, float32 [n, F], C-contiguous.

        Args:
            computed: plain values of the computed columns.
            places: for each lookup the row of its table that was found.
            rows: how many there are.
        """
        import numpy as np

        matrix = np.empty((rows, self.encoding.width), dtype=np.float32)
        for place, column in self._computed:
            encoded = column.encode_plain(computed[column.name])
            matrix[:, place] = encoded if column.shape else encoded[:, None]
        for lookup, columns, shown in self._found:
            matrix[:, columns] = shown[np.asarray(places[lookup], dtype=np.intp)]
        return matrix


def _encoded(
    encoding: Encoding, places: Sequence[int], shown: "Sequence[pl.Series]"
) -> "np.ndarray":
    import numpy as np

    columns = {series.name: series for series in shown}
    chosen = [encoding.slots[place] for place in places]
    return np.column_stack([column.encode(columns[column.name]) for column in chosen])
