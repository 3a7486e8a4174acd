"""The models that a bundle serves by the Open Inference Protocol v2, both by one scoring path.

`<product>` takes the columns of the request; `<product>_vectors` takes features that are ready, as
the encoded matrix.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.serving.bundle import Bundle
from ai_assets.serving.frames import ColumnReader
from ai_assets.serving.observe.exchange import timed
from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.tensors import BYTES, NUMPY, Output, Spec, Tensor, wrong
from ai_assets.serving.request import RequestReader

if TYPE_CHECKING:
    from ai_assets.serving.engine import Part, Scored

MISSING = ".missing"
VECTORS = "features"
# Names the bundle that answered each row; given where it is asked for.
BUNDLE = "bundle"
# Of several classes how likely each is, in the order of the metadata's `classes`.
EACH = "probabilities"
BESIDE = "interval"
_DATATYPES = {
    "string": BYTES, "int64": "INT64", "float64": "FP64", "bool": "BOOL", "datetime": BYTES,
    "date": BYTES, "image": BYTES, "text": BYTES,
}  # fmt: skip
_NUMBERS = tuple(name for name in NUMPY if name != "BOOL")
# What a column may be sent as. A float may say by NaN that a whole number is missing.
_ALSO = {"INT64": _NUMBERS, "FP64": _NUMBERS, "BOOL": ("BOOL",), BYTES: (BYTES,)}


class Model(ABC):
    """One model of the protocol.

    Attributes:
        name: what clients call it.
        inputs: the tensors it takes.
        outputs: the tensors it gives.
    """

    def __init__(self, name: str, bundle: Bundle, inputs: Sequence[Spec], max_rows: int) -> None:
        decision = bundle.decision
        label = "FP64" if decision.task == "regression" else BYTES
        self._classes = decision.classes if decision.task == "multiclass" else ()
        self.name = name
        self.version = bundle.tag.partition(":")[2]
        self.inputs = tuple(inputs)
        self.outputs = (
            Spec("probability", "FP64"),
            Spec("label", label),
            *([Spec(EACH, "FP64", (-1, len(self._classes)))] if self._classes else []),
            *([Spec(BESIDE, "FP64", (-1, 2))] if decision.interval is not None else []),
            Spec("prediction_id", BYTES),
            Spec(BUNDLE, BYTES),
        )
        self._max_rows = max_rows
        self._specs_out = {spec.name: spec for spec in self.outputs}

    def metadata(self) -> dict[str, Any]:
        """What the protocol says of the model; which classes it tells apart, if several."""
        classes = {"classes": list(self._classes)}
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "ai_assets_bundle",
            "inputs": [spec.content() for spec in self.inputs],
            "outputs": [spec.content() for spec in self.outputs],
            **({"parameters": classes} if self._classes else {}),
        }

    @abstractmethod
    def part(self, tensors: Sequence[Tensor]) -> "Part":
        """What the tensors bring, checked.

        Raises:
            Refused: says which tensor, which row, and what is allowed.
        """

    def wanted(self, names: Sequence[str]) -> list[str]:
        """The outputs to give: those asked for, or all but the bundle.

        Raises:
            Refused: there is no such output, or one is asked for twice.
        """
        known = [spec.name for spec in self.outputs]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise Refused(400, f"The output '{name}' is asked for twice.")
            if name not in known:
                raise Refused(400, f"There is no output '{name}'.{did_you_mean(name, known)}")
        return list(names) or known[:-1]

    def answers(self, scored: "Scored", names: Sequence[str]) -> list[Output]:
        """The outputs of these names."""
        columns: dict[str, Callable[[], Sequence[Any]]] = {
            "probability": lambda: scored.probability.tolist(),
            "label": lambda: scored.label,
            EACH: lambda: _flat(scored.probabilities),
            BESIDE: lambda: _flat(scored.interval),
            "prediction_id": lambda: scored.ids,
            BUNDLE: lambda: scored.bundles,
        }
        specs = [self._specs_out[name] for name in names]
        return [Output(s.name, s.datatype, columns[s.name](), s.columns) for s in specs]

    def _check_rows(self, rows: int) -> None:
        if not rows:
            raise Refused(400, "There must be at least one row, but there is none.")
        if rows > self._max_rows:
            raise Refused(
                413, f"There must be at most {self._max_rows} rows, but there are {rows}."
            )


class RowModel(Model):
    """Takes the request's columns by their names: what `/predict` takes, a column a tensor.

    A column that may be missing can be left out. Single values are missing where a float is NaN,
    where JSON says null, or where the BOOL tensor `<column>.missing` is true.
    """

    def __init__(self, bundle: Bundle, reader: RequestReader) -> None:
        inputs = [Spec(n, _DATATYPES[c.type]) for n, c in reader.table.columns.items()]
        super().__init__(bundle.product, bundle, inputs, reader.max_rows)
        self._types = {spec.name: spec.datatype for spec in inputs}
        self._files = {n for n, c in reader.table.columns.items() if c.type == "image"}
        self._columns = ColumnReader(reader)

    @timed("validate")
    def part(self, tensors: Sequence[Tensor]) -> "Part":
        """The rows as a frame of the declared columns."""
        rows = _common_rows(tensors)
        self._check_rows(rows)
        columns: dict[str, pl.Series] = {}
        masks: dict[str, pl.Series] = {}
        for tensor in tensors:
            column = tensor.name.removesuffix(MISSING)
            if tensor.name not in self._types and column in self._types:
                masks[column] = _mask(tensor)
                continue
            self._check_datatype(tensor)
            columns[tensor.name] = tensor.values
        self._columns.check_names(columns)
        for name, mask in masks.items():
            if name in columns:
                columns[name] = _hidden(columns[name], mask)
        return self._columns.frame(columns, rows)

    def _check_datatype(self, tensor: Tensor) -> None:
        declared = self._types.get(tensor.name)
        if tensor.values.dtype == pl.Binary and declared and tensor.name not in self._files:
            raise wrong(tensor.name, "texts must be UTF-8.")
        if declared is None or tensor.datatype in _ALSO[declared]:
            return
        words = " or ".join(_ALSO[declared])
        raise wrong(tensor.name, f"datatype must be {words}, not {tensor.datatype}.")


class VectorModel(Model):
    """Takes the encoded matrix: numbers as they are, NaN where missing; texts by their codes."""

    def __init__(self, bundle: Bundle, max_rows: int) -> None:
        self._encoding: Encoding = bundle.encoding
        self._categorical = np.array(self._encoding.categorical, np.intp)
        sizes = [len(self._encoding.slots[c].categories) for c in self._encoding.categorical]
        self._last_code = np.array(sizes, np.float32) - 1
        inputs = [Spec(VECTORS, "FP32", (-1, bundle.encoding.width))]
        super().__init__(f"{bundle.product}_vectors", bundle, inputs, max_rows)

    def metadata(self) -> dict[str, Any]:
        """With the names of the matrix's columns, in order."""
        found = super().metadata()
        named = {"features": list(self._encoding.names), **found.get("parameters", {})}
        return {**found, "parameters": named}

    @timed("validate")
    def part(self, tensors: Sequence[Tensor]) -> "Part":
        """The matrix [n, f], float32 and contiguous."""
        width = self._encoding.width
        names = [tensor.name for tensor in tensors]
        if names != [VECTORS]:
            raise Refused(400, f"There must be one input, '{VECTORS}', but got {names[:20]}.")
        (tensor,) = tensors
        if tensor.datatype not in ("FP16", "FP32", "FP64"):
            raise wrong(VECTORS, f"datatype must be FP32, not {tensor.datatype}.")
        if len(tensor.shape) != 2 or tensor.shape[1] != width:
            raise wrong(VECTORS, f"shape must be [n, {width}], but is {list(tensor.shape)}.")
        self._check_rows(tensor.shape[0])
        if tensor.values.has_nulls():
            raise wrong(VECTORS, "a missing number must be NaN, not null.")
        with np.errstate(over="ignore"):
            flat = tensor.values.to_numpy().astype(np.float32, copy=False)
        matrix = np.ascontiguousarray(flat.reshape(tensor.shape))
        self._check_matrix(matrix)
        return matrix

    def _check_matrix(self, matrix: np.ndarray) -> None:
        infinite = np.isinf(matrix)
        if infinite.any():
            row, column = np.argwhere(infinite)[0]
            name = self._encoding.names[column]
            raise wrong(VECTORS, f"row {row}: {name} must be a finite number, or NaN if missing.")
        codes = matrix[:, self._categorical]
        good = (codes >= -1) & (codes <= self._last_code) & (codes == np.floor(codes))
        if not good.all():
            row, place = np.argwhere(~good)[0]
            name, last = self._encoding.names[self._categorical[place]], self._last_code[place]
            raise wrong(
                VECTORS,
                f"row {row}: {name} must be a code from 0 to {int(last)}, or -1 if unknown or "
                "missing.",
            )


def version(scored: "Scored") -> str:
    """The version of the model that answered."""
    return scored.bundle.partition(":")[2]


def _flat(matrix: np.ndarray | None) -> list[float]:
    assert matrix is not None
    found: list[float] = matrix.ravel().tolist()
    return found


def _common_rows(tensors: Sequence[Tensor]) -> int:
    """How many rows all tensors have; each is [n] or [n, 1]."""
    if not tensors:
        raise Refused(400, "There must be at least one input, but there is none.")
    seen: set[str] = set()
    for tensor in tensors:
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,)):
            raise wrong(tensor.name, f"shape must be [n] or [n, 1], but is {list(tensor.shape)}.")
        if tensor.shape[0] != tensors[0].shape[0]:
            raise wrong(
                tensor.name,
                f"must have {tensors[0].shape[0]} rows as '{tensors[0].name}' has, but has "
                f"{tensor.shape[0]}.",
            )
        if tensor.name in seen:
            raise wrong(tensor.name, "is given twice.")
        seen.add(tensor.name)
    return tensors[0].shape[0]


def _mask(tensor: Tensor) -> pl.Series:
    if tensor.datatype != "BOOL" or tensor.values.has_nulls():
        raise wrong(tensor.name, "must be BOOL: true where the value is missing.")
    return tensor.values


def _hidden(values: pl.Series, mask: pl.Series) -> pl.Series:
    """The values, null where the mask is true."""
    return pl.select(pl.when(~mask).then(values)).to_series()


class Models:
    """The models of a bundle."""

    def __init__(self, bundle: Bundle, reader: RequestReader) -> None:
        self._models: list[Model] = [
            RowModel(bundle, reader),
            VectorModel(bundle, reader.max_rows),
        ]

    def find(self, name: str, version: str = "") -> Model:
        """The model of a name, and of a version if one is given.

        Raises:
            Refused: with 404; there is no such model or version.
        """
        names = [model.name for model in self._models]
        for model in self._models:
            if model.name == name:
                if version not in ("", model.version):
                    served = f"The version that is served is '{model.version}'."
                    raise Refused(404, f"There is no version '{version}' of '{name}'. {served}")
                return model
        near = did_you_mean(name, names) or f" There are {', '.join(names)}."
        raise Refused(404, f"There is no model '{name}'.{near}")
