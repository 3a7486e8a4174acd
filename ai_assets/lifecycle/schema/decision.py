"""From probabilities to an answer: the threshold and the names of the classes."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.interval import Interval

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
CostMatrix = tuple[tuple[float, ...], ...]
"""What an answer costs: a row for each label, with a number for each answer. Gains are negative."""


@dataclass(frozen=True)
class Decision:
    """How a prediction becomes an answer.

    Attributes:
        task: What is predicted.
        positive: Name of the positive answer of a binary task.
        threshold: P(positive) from which on the answer is positive.
        classes: Names of the answers in the order of their numbers: negative then positive of a
            binary task, every class of a multiclass one, none of a regression.
        interval: Of a regression: what lies beside each value, where it is declared.
        costs: What answers cost, where it is declared. Of several classes the answer is then that
            of the least expected cost; the threshold of a binary task was chosen by it.
    """

    task: Literal["binary", "multiclass", "regression"]
    positive: str = "1"
    threshold: float = 0.5
    classes: tuple[str, ...] = ("0", "1")
    interval: Interval | None = None
    costs: CostMatrix | None = None

    @property
    def asked_threshold(self) -> float | None:
        """The threshold of a binary task; None of others, which do not ask it."""
        return self.threshold if self.task == "binary" else None

    def codes(self, predicted: "np.ndarray") -> "np.ndarray":
        """Numbers of the answers [n] to predictions [n] or [n, K]; the values of a regression."""
        import numpy as np

        predicted = np.asarray(predicted)
        if self.task == "multiclass":
            return answered_classes(predicted, self.costs)
        flat = predicted.reshape(len(predicted))
        return flat if self.task == "regression" else (flat >= self.threshold).astype(np.int64)

    def answers(self, predicted: "np.ndarray") -> list[str | float]:
        """Names of the answers, or the values of a regression."""
        codes = self.codes(predicted).tolist()
        return codes if self.task == "regression" else [self.classes[code] for code in codes]

    def confidence(self, predicted: "np.ndarray") -> "np.ndarray":
        """One number [n] a row: P(positive), of several classes [n, K] P(answer), or the value."""
        import numpy as np

        if predicted.ndim == 1 or predicted.shape[1] == 1:
            return predicted.reshape(len(predicted))
        found: np.ndarray = predicted[np.arange(len(predicted)), self.codes(predicted)]
        return found

    def to_json(self) -> str:
        """The decision as JSON; `from_json` reads it back."""
        told = {"format": FORMAT} | asdict(self)
        beside = told["interval"]
        parts = ((told, "interval"), (told, "costs"), (beside, "floor"), (beside, "scale"))
        for part, name in parts:
            if part is not None and part[name] is None:
                del part[name]
        return json.dumps(told, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Decision":
        """Read what `to_json` wrote.

        Raises:
            DataError: the JSON is of another format.
        """
        read = json.loads(text)
        if read.pop("format", None) != FORMAT:
            raise DataError(f"the decision must have format {FORMAT}.")
        interval, costs = read.pop("interval", None), read.pop("costs", None)
        return cls(
            classes=tuple(read.pop("classes")),
            interval=None if interval is None else Interval(**interval),
            costs=None if costs is None else tuple(map(tuple, costs)),
            **read,
        )


def answered_classes(predicted: "np.ndarray", costs: CostMatrix | None = None) -> "np.ndarray":
    """Numbers of the answers [n]: the likeliest classes, or those of the least expected cost.

    Args:
        predicted: probabilities [n, K].
        costs: by label and answer, [K, K].
    """
    import numpy as np

    if costs is None:
        found: np.ndarray = predicted.argmax(axis=1)
        return found
    # Not a product of matrices, whose sums depend on how many rows are asked for together.
    expected: np.ndarray = np.einsum("nk,ka->na", predicted, np.array(costs), optimize=False)
    return expected.argmin(axis=1)
