"""How raw scores become probabilities one can count on: the part that the server applies."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ai_assets.lifecycle.errors import DataError, must_be

if TYPE_CHECKING:
    import numpy as np

Method = Literal["none", "sigmoid", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "sigmoid", "isotonic")
FORMAT = 1
_EDGE = 1e-7


@dataclass(frozen=True)
class Calibration:
    """A monotone correction of scores. `lifecycle.training.calibration` fits one.

    Attributes:
        method: `none` leaves scores as they are. `sigmoid` (Platt 1999) maps the logit of a score
            to `slope * logit + intercept`; of several classes only the temperature `slope` is used
            (Guo et al. 2017). `isotonic` (Zadrozny and Elkan 2002) interpolates between `points`.
        slope: Factor of the logit.
        intercept: Shift of the logit.
        points: (score, probability) pairs, ascending in both.
    """

    method: Method = "none"
    slope: float = 1.0
    intercept: float = 0.0
    points: tuple[tuple[float, float], ...] = ()

    def __str__(self) -> str:
        """In words, for people."""
        if self.method == "none":
            return "none: scores are probabilities as they are"
        if self.method == "isotonic":
            return f"isotonic: steps between {len(self.points)} points"
        return f"sigmoid: {self.slope:.4g} times the logit {self.intercept:+.4g}"

    def apply(self, scores: "np.ndarray") -> "np.ndarray":
        """Calibrated probabilities, in the shape of `scores`: [n], [n, 1] or [n, K]."""
        import numpy as np

        scores = np.asarray(scores, dtype=np.float64)
        if self.method == "none":
            return scores
        if self.method == "isotonic":
            given, probability = np.array(self.points).T
            return np.interp(scores, given, probability)
        if scores.ndim == 2 and scores.shape[1] > 1:
            powers = np.clip(scores, _EDGE, 1.0) ** self.slope
            return powers / powers.sum(axis=1, keepdims=True)
        return 1.0 / (1.0 + np.exp(-(self.slope * logit(scores) + self.intercept)))

    def to_json(self) -> str:
        """The calibration as JSON; `from_json` reads it back."""
        return json.dumps({"format": FORMAT} | asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """Read what `to_json` wrote.

        Raises:
            DataError: the JSON is of another format or names an unknown method.
        """
        read = json.loads(text)
        if read.pop("format", None) != FORMAT:
            raise DataError(f"the calibration must have format {FORMAT}.")
        if read["method"] not in METHODS:
            raise DataError(must_be("calibration method", METHODS, read["method"]))
        points = tuple((float(x), float(y)) for x, y in read.pop("points"))
        return cls(points=points, **read)


def logit(scores: "np.ndarray") -> "np.ndarray":
    """Log odds of probabilities, which are kept 1e-7 away from 0 and 1."""
    import numpy as np

    p = np.clip(scores, _EDGE, 1 - _EDGE)
    return np.log(p) - np.log1p(-p)
