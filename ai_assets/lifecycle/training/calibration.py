"""Learning how to correct a model's probabilities, on rows that it was not fitted on."""

import numpy as np

from ai_assets.lifecycle.errors import DataError, DeclarationError, must_be
from ai_assets.lifecycle.schema.calibration import METHODS, Calibration, Method, logit

ISOTONIC_ROWS = 100


def fit_calibration(
    method: Method, scores: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None
) -> Calibration:
    """Fit a calibration on validation rows.

    Args:
        method: `none`, `sigmoid` (two numbers; needs few rows) or `isotonic` (any monotone shape;
            needs many rows).
        scores: probabilities [n] or [n, 1] of a binary task, [n, K] of a multiclass one.
        y: 0 and 1, or the class's number, [n].
        weight: how many rows each stands for, [n]; default: one.

    Raises:
        DeclarationError: the method is unknown, or isotonic for several classes.
        DataError: the rows hold one class only, or too few rows for isotonic.
    """
    if method not in METHODS:
        raise DeclarationError(must_be("calibration", METHODS, method))
    if method == "none":
        return Calibration()
    if len(np.unique(y)) < 2:
        raise DataError("calibration needs rows of at least two classes.")
    if scores.ndim == 2 and scores.shape[1] > 1:
        if method == "isotonic":
            raise DeclarationError(
                must_be("calibration of a multiclass task", ("none", "sigmoid"), method)
            )
        return Calibration("sigmoid", slope=_temperature(scores, y, weight))
    flat = scores.reshape(len(y)).astype(np.float64)
    fit = _isotonic if method == "isotonic" else _sigmoid
    return fit(flat, y, weight)


def _sigmoid(scores: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Calibration:
    from scipy.optimize import minimize

    odds = logit(scores)
    # Platt's targets: a little away from 0 and 1, so that separable rows have a finite answer.
    positives, negatives = (y == 1).sum(), (y == 0).sum()
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        score = at[0] * odds + at[1]
        value = np.average(np.logaddexp(0, score) - target * score, weights=weight)
        error = 1 / (1 + np.exp(-score)) - target
        slopes = [np.average(part, weights=weight) for part in (error * odds, error)]
        return float(value), np.array(slopes)

    # A negative slope would turn the order of the scores around.
    bounds = [(1e-3, None), (None, None)]
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration("sigmoid", slope=float(found.x[0]), intercept=float(found.x[1]))


def _isotonic(scores: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    if len(y) < ISOTONIC_ROWS:
        raise DataError(
            f"isotonic calibration needs at least {ISOTONIC_ROWS} validation rows, but got "
            f"{len(y)}. Declare calibration: sigmoid."
        )
    # Never exactly 0 or 1: one surprise would have an infinite log loss.
    edge = 1.0 / (len(y) + 2)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
    fitted = fitted.fit(scores, y, sample_weight=weight)
    points = zip(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist(), strict=True)
    return Calibration("isotonic", points=tuple(points))


def _temperature(scores: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(y))

    def loss(slope: float) -> float:
        probability = Calibration("sigmoid", slope=slope).apply(scores)
        given = np.clip(probability[rows, y.astype(np.int64)], 1e-15, None)
        return float(np.average(-np.log(given), weights=weight))

    return float(minimize_scalar(loss, bounds=(0.05, 20.0), method="bounded").x)
