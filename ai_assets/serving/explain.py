"""Why a row is scored as it is: contributions of its features, in log odds of what is served.

Of several classes the answer is explained, in its centred log ratio: the logarithm of its
probability less the mean of those of all (Aitchison 1982). In it the trees of a class add up, as
they do not in the log odds of one against the rest.

Exact TreeSHAP (Lundberg et al. 2020) where trees are served and lightgbm is installed; else
Shapley values sampled over antithetic permutations (Mitchell et al. 2022) against a typical row.
Either way base + contributions = output.

Of a picture and a text each patch and each word has its own (`parts`). How many orders are walked
is bounded there; even one with its reverse is exact as far as parts act alone and in pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.errors import BundleError, DataError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.images import WHITE
from ai_assets.lifecycle.schema.calibration import logit
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.serving.parts import Parts, most_rows
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

    `label` is the answer that is explained, where there are several classes; else None. `within`
    is, by feature, what within it contributed: `map` of an image, [row][column] from its top left
    corner, and `words` of a text, in their order.
    """

    method: str
    space: str
    output: float
    base: float
    contributions: dict[str, float]
    values: dict[str, Any]
    label: str | None = None
    within: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
                {
                    "feature": n,
                    "value": self.values[n],
                    "contribution": c,
                    **self.within.get(n, {}),
                }
                for n, c in ordered
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
        whole = features.to_dicts()
        answers = self._answers(self._scorer.probabilities(matrix))
        exact = self._exact(matrix, answers)
        found = []
        for i, values in enumerate(given):
            parts = Parts.of(self._encoding, whole[i])
            if exact is not None:
                method, shares, base = "exact (TreeSHAP)", exact[i, :-1], float(exact[i, -1])
            else:
                pairs = _pairs(parts.count, most_rows(self._encoding))
                method = f"sampled ({pairs} antithetic permutations)"
                shares, base = self._sampled(matrix[i], answers[i], parts, pairs)
            output = base + float(shares.sum())
            label = self._decision.classes[answers[i]] if self._several else None
            totals, within = self._told(parts, shares)
            found.append(
                Explanation(method, self._space, output, base, totals, values, label, within)
            )
        return found

    def _told(
        self, parts: Parts, shares: np.ndarray
    ) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
        """Contributions of features, and of what is within them where anybody may see that."""
        each = dict(zip(parts.cuts, parts.by_feature(shares), strict=True))
        totals = {cut.column.name: float(own.sum()) for cut, own in each.items()}
        personal = self._personal
        within = {
            cut.column.name: cut.told(own)
            for cut, own in each.items()
            if cut.column.shape and cut.column.name not in personal
        }
        return totals, within

    @property
    def _decision(self) -> Decision:
        return self._scorer.bundle.decision

    @property
    def _several(self) -> bool:
        return self._decision.task == "multiclass"

    def _answers(self, predicted: np.ndarray) -> np.ndarray:
        """The column of each prediction [n, K] that is explained: that of the answer."""
        if self._several:
            return self._decision.codes(predicted)
        return np.zeros(len(predicted), np.intp)

    def _shown(self, features: pl.DataFrame) -> pl.DataFrame:
        """The features' values, without personal data that the query passes through.

        Of a picture its size is told: who asks has the picture.
        """
        columns = self._encoding.columns
        sizes = {
            c.name: f"picture of {c.shape[0]} x {c.shape[1]} pixels"
            for c in columns
            if c.kind == "image"
        }
        told = sizes | dict.fromkeys(self._personal, "(personal)")
        hidden = [pl.lit(words).alias(name) for name, words in told.items()]
        return features.select(c.name for c in columns).with_columns(hidden)

    @cached_property
    def _personal(self) -> list[str]:
        columns = self._scorer.bundle.request.table.columns
        names = [column.name for column in self._encoding.columns]
        return [n for n in names if n in columns and columns[n].personal]

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
        # The parts of an item are more than one column of the matrix, or fewer.
        if self._booster is None or calibration.method == "isotonic" or self._encoding.items:
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

    def _sampled(
        self, row: np.ndarray, answer: int, parts: Parts, pairs: int
    ) -> tuple[np.ndarray, float]:
        """Walk from the typical row to this one, part by part, in many orders."""
        count = parts.count
        orders = _orders(count, pairs)
        place = np.argsort(orders, axis=1)
        # [order, step, part]: after step s the first s parts of the order are this row's. Before
        # the first and after the last step all orders are at the same row.
        own = place[:, None, :] < np.arange(1, max(count, 1))[None, :, None]
        ends = np.zeros((2, count), dtype=bool)
        ends[1] = True
        asked = np.concatenate([ends, own.reshape(own.shape[0] * own.shape[1], count)])
        pieces = parts.rows(row, self._typical, asked)
        outputs = np.concatenate([self._output(piece, answer) for piece in pieces])
        first, last, steps = outputs[0], outputs[1], outputs[2:].reshape(len(orders), -1)
        if not count:
            return np.zeros(0), float(last)
        start, end = (np.full((len(orders), 1), value) for value in (first, last))
        gains = np.diff(np.concatenate([start, steps, end], axis=1), axis=1)
        total = np.zeros(count)
        np.add.at(total, orders, gains)
        return total / len(orders), float(first)

    def _output(self, matrix: np.ndarray, answer: int) -> np.ndarray:
        predicted = self._scorer.probabilities(matrix)
        if self._decision.task == "regression":
            return predicted[:, 0]
        return centred(predicted)[:, answer] if self._several else logit(predicted[:, 0])

    @cached_property
    def _typical(self) -> np.ndarray:
        """The row [F] that parts are taken from where they are left out."""
        known = self._scorer.bundle.background
        whole = {column.name for column in self._encoding.items}
        plain = {name: value for name, value in known.items() if name not in whole}
        try:
            row = self._encoding.transform(one_row(self._encoding, plain))[0]
            for place, column in zip(self._encoding.places, self._encoding.columns, strict=True):
                if column.kind == "image" and (ground := known.get(column.name)) is not None:
                    row[place] = np.broadcast_to(ground, column.shape).ravel() / WHITE
        except (DataError, ValueError, TypeError) as error:
            raise BundleError(f"background.json cannot be read: {error}") from error
        return row

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


def one_row(encoding: Encoding, values: Mapping[str, Any]) -> pl.DataFrame:
    """The features of one row as a frame; what is not among the values is missing."""
    kinds = {"numeric": pl.Float64, "image": pl.Binary}
    return pl.DataFrame(
        [
            pl.Series(c.name, [values.get(c.name)], kinds.get(c.kind, pl.String), strict=False)
            for c in encoding.columns
        ]
    )


@cache
def _orders(count: int, pairs: int) -> np.ndarray:
    """Orders [2 * pairs, count] of parts: each is followed by its reverse."""
    random = np.random.default_rng(_SEED)
    some = [random.permutation(count) for _ in range(pairs)]
    return np.array([order for one in some for order in (one, one[::-1])])


def _pairs(count: int, most: int | None) -> int:
    """How many orders, with their reverses, may be walked through so many parts."""
    return _PAIRS if most is None else min(max(most // (2 * max(count, 1)), 1), _PAIRS)


def centred(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities [n, K], kept from 0 by 1e-7, less the mean of each row's."""
    logs = np.log(np.maximum(probabilities, _LEAST))
    found: np.ndarray = logs - logs.mean(axis=1, keepdims=True)
    return found
