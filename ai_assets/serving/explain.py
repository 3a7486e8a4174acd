"""Why a row is scored as it is: contributions of its features, in log odds of what is served.

Of several classes the answer is explained, in its centred log ratio: the logarithm of its
probability less the mean of those of all (Aitchison 1982). In it the trees of a class add up, as
they do not in the log odds of one against the rest.

Exact TreeSHAP (Lundberg et al. 2020) where trees are served and lightgbm is installed; else
Shapley values sampled over antithetic permutations (Mitchell et al. 2022) against a typical row.
Either way base + contributions = output.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import BundleError, DataError
from ai_assets.lifecycle.schema.calibration import logit
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.serving.scoring import Scorer

if TYPE_CHECKING:
    import lightgbm

_PAIRS = 16
_SEED = 20130101
_SAME = 1e-3
# Of what is less likely than this, a model of 32 bits tells no three digits.
_RARE = 1e-4
_LEAST = 1e-7


@dataclass(frozen=True, eq=False)
class Explanation:
    """One row's contributions. `output` = `base` + the sum of `contributions`, in `space`.

    `label` is the answer that is explained, where there are several classes; else None.
    """

    method: str
    space: str
    output: float
    base: float
    contributions: dict[str, float]
    values: dict[str, Any]
    label: str | None = None

    def content(self) -> dict[str, Any]:
        """The explanation as JSON, the strongest contribution first."""
        ordered = sorted(self.contributions.items(), key=lambda item: -abs(item[1]))
        return {
            **({} if self.label is None else {"label": self.label}),
            "method": self.method,
            "space": self.space,
            "output": self.output,
            "base": self.base,
            "contributions": [
                {"feature": n, "value": self.values[n], "contribution": c} for n, c in ordered
            ],
        }


class Explainer:
    """Explains what a scorer serves."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._encoding = scorer.bundle.encoding

    def explain(self, rows: pl.DataFrame) -> list[Explanation]:
        """An explanation for each request row."""
        return self.explain_features(self._scorer.features(rows))

    def explain_features(self, features: pl.DataFrame) -> list[Explanation]:
        """An explanation for each row of features that were made before."""
        matrix = self._encoding.transform(features)
        given = self._shown(features).to_dicts()
        answers = self._scorer.probabilities(matrix).argmax(axis=1)
        exact = self._exact(matrix, answers)
        found = []
        for i, values in enumerate(given):
            method = "exact (TreeSHAP)"
            if exact is not None:
                parts, base = exact[i, :-1], float(exact[i, -1])
            else:
                method = f"sampled ({_PAIRS} antithetic permutations)"
                parts, base = self._sampled(matrix[i], answers[i])
            shares = dict(zip(self._encoding.names, parts.tolist(), strict=True))
            output = base + float(parts.sum())
            label = self._decision.classes[answers[i]] if self._several else None
            found.append(Explanation(method, self._space, output, base, shares, values, label))
        return found

    @property
    def _decision(self) -> Decision:
        return self._scorer.bundle.decision

    @property
    def _several(self) -> bool:
        return self._decision.task == "multiclass"

    def _shown(self, features: pl.DataFrame) -> pl.DataFrame:
        """The features' values, without personal data that the query passes through."""
        columns = self._scorer.bundle.request.table.columns
        personal = [n for n in self._encoding.names if n in columns and columns[n].personal]
        hidden = [pl.lit("(personal)").alias(name) for name in personal]
        return features.select(self._encoding.names).with_columns(hidden)

    @property
    def _space(self) -> str:
        if self._several:
            return "centred log ratio"
        return "value" if self._decision.task == "regression" else "log odds"

    def _exact(self, matrix: np.ndarray, answers: np.ndarray) -> np.ndarray | None:
        """Contributions [n, F + base] of the served trees, or None where they are not to be had.

        Args:
            matrix: rows [n, F].
            answers: numbers [n] of the classes to explain, where there are several.
        """
        calibration = self._scorer.bundle.calibration
        if self._booster is None or calibration.method == "isotonic":
            return None
        shares = np.asarray(self._booster.predict(matrix, pred_contrib=True), dtype=np.float64)
        if self._several:
            return self._of_answers(matrix, shares, answers)
        if calibration.method == "sigmoid":
            shares = shares * calibration.slope
            shares[:, -1] += calibration.intercept
        # The trees in the bundle explain the answer only if they are what is served.
        differs = np.abs(shares.sum(axis=1) - logit(self._scorer.probabilities(matrix)[:, 0]))
        return shares if differs.max(initial=0.0) < _SAME else None

    def _of_answers(
        self, matrix: np.ndarray, shares: np.ndarray, answers: np.ndarray
    ) -> np.ndarray | None:
        """As `_exact`, of contributions to the margin of each class [n, K * (F + base)]."""
        calibration = self._scorer.bundle.calibration
        each = shares.reshape(len(matrix), -1, matrix.shape[1] + 1)
        margins = each.sum(axis=2)
        likely = np.exp(margins - margins.max(axis=1, keepdims=True))
        expected = calibration.apply(likely / likely.sum(axis=1, keepdims=True))
        served = self._scorer.probabilities(matrix)
        if expected.shape != served.shape:
            return None
        differs = np.abs(np.log(np.maximum(expected, _RARE)) - np.log(np.maximum(served, _RARE)))
        if differs.max(initial=0.0) >= _SAME:
            return None
        temperature = calibration.slope if calibration.method == "sigmoid" else 1.0
        own = each[np.arange(len(matrix)), answers]
        return temperature * (own - each.mean(axis=1))

    def _sampled(self, row: np.ndarray, answer: int) -> tuple[np.ndarray, float]:
        """Walk from the typical row to this one, feature by feature, in many orders."""
        count = len(row)
        orders = self._orders
        place = np.argsort(orders, axis=1)
        steps = np.arange(count + 1)
        # [order, step, feature]: at step s the first s features of the order are this row's.
        own = place[:, None, :] < steps[None, :, None]
        matrix = np.where(own, row, self._typical).astype(np.float32).reshape(-1, count)
        outputs = self._output(matrix, answer).reshape(len(orders), count + 1)
        gains = np.diff(outputs, axis=1)
        total = np.zeros(count)
        np.add.at(total, orders, gains)
        return total / len(orders), float(outputs[0, 0])

    def _output(self, matrix: np.ndarray, answer: int) -> np.ndarray:
        predicted = self._scorer.probabilities(matrix)
        if self._decision.task == "regression":
            return predicted[:, 0]
        return centred(predicted)[:, answer] if self._several else logit(predicted[:, 0])

    @cached_property
    def _orders(self) -> np.ndarray:
        random = np.random.default_rng(_SEED)
        some = [random.permutation(len(self._encoding.names)) for _ in range(_PAIRS)]
        return np.array([order for one in some for order in (one, one[::-1])])

    @cached_property
    def _typical(self) -> np.ndarray:
        columns = {
            c.name: pl.Series(
                c.name,
                [self._scorer.bundle.background.get(c.name)],
                pl.Float64 if c.kind == "numeric" else pl.String,
                strict=False,
            )
            for c in self._encoding.columns
        }
        try:
            return self._encoding.transform(pl.DataFrame(columns))[0]
        except DataError as error:
            raise BundleError(f"background.json cannot be read: {error}") from error

    @cached_property
    def _booster(self) -> "lightgbm.Booster | None":
        bundle = self._scorer.bundle
        if bundle.trees is None or bundle.decision.task == "regression":
            return None
        try:
            import lightgbm
        except (ImportError, OSError):
            return None
        return lightgbm.Booster(model_str=bundle.trees)


def centred(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities [n, K], kept from 0 by 1e-7, less the mean of each row's."""
    logs = np.log(np.maximum(probabilities, _LEAST))
    found: np.ndarray = logs - logs.mean(axis=1, keepdims=True)
    return found
