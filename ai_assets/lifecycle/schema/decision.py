"""From probabilities to an answer: the threshold and the names of the classes."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.interval import Interval

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1


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
    """

    task: Literal["binary", "multiclass", "regression"]
    positive: str = "1"
    threshold: float = 0.5
    classes: tuple[str, ...] = ("0", "1")
    interval: Interval | None = None

    @property
    def asked_threshold(self) -> float | None:
        """The threshold of a binary task; None of others, which do not ask it."""
        return self.threshold if self.task == "binary" else None

    def codes(self, predicted: "np.ndarray") -> "np.ndarray":
        """Numbers of the answers [n] to predictions [n] or [n, K]; the values of a regression."""
        import numpy as np

        predicted = np.asarray(predicted)
        if self.task == "multiclass":
            return predicted.argmax(axis=1)
        flat = predicted.reshape(len(predicted))
        return flat if self.task == "regression" else (flat >= self.threshold).astype(np.int64)

    def answers(self, predicted: "np.ndarray") -> list[str | float]:
        """Names of the answers, or the values of a regression."""
        codes = self.codes(predicted).tolist()
        return codes if self.task == "regression" else [self.classes[code] for code in codes]

    def to_json(self) -> str:
        """The decision as JSON; `from_json` reads it back."""
        told = {"format": FORMAT} | asdict(self)
        if self.interval is None:
            del told["interval"]
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
        interval = read.pop("interval", None)
        return cls(
            classes=tuple(read.pop("classes")),
            interval=None if interval is None else Interval(**interval),
            **read,
        )
