"""Checks that stand between a compressed model and its release: (passed, words) each."""

import numpy as np

from ai_assets.lifecycle.compression.candidates import Measurement
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.recipes import Candidate
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.learners.base import OF_VALUES, Model

TOLERANCE = 1e-5


def onnx_parity_ok(
    model: Model, candidate: Candidate, held_out: HeldOut, tolerance: float = TOLERANCE
) -> tuple[bool, str]:
    """Whether a candidate's graph answers like the model it was made from.

    Differences of probabilities count as they are, those of values relative to their size: to the
    value itself, or to the root mean square of all where that is larger, since a sum that ends near
    0 is rounded at the size of its parts.
    """
    expected, given = held_out.of_model(model), held_out.of_graph(candidate)
    if given.shape != expected.shape:
        return False, f"the graph's outputs are {given.shape}, the model's {expected.shape}."
    if not np.isfinite(given).all():
        return False, f"{int((~np.isfinite(given)).sum())} outputs of the graph are not finite."
    largest = float((np.abs(given - expected) / _size(model, expected)).max())
    passed = largest <= tolerance
    relation = "within" if passed else "beyond"
    return passed, (
        f"the graph differs from the model by at most {largest:.1e} over {len(given)} rows, "
        f"{relation} the tolerance of {tolerance:.1e}."
    )


def _size(model: Model, outputs: np.ndarray) -> np.ndarray:
    """What differences [n, K] of outputs are relative to."""
    if model.task not in OF_VALUES:
        return np.ones_like(outputs)
    usual = float(np.sqrt((outputs**2).mean()))
    # Zeros alone are told exactly or not at all.
    return np.maximum(np.abs(outputs), usual or 1.0)


def budget_ok(measured: Measurement, spec: Compression) -> tuple[bool, str]:
    """Whether a measured candidate stays within the declared budget; the words name each limit."""
    limits = [
        ("metric loss", measured.metric_loss, spec.max_metric_loss, ""),
        ("size", measured.size / 1e6, spec.max_size, " MB"),
        ("p99 of one row", measured.p99, spec.max_p99, " ms"),
    ]
    broken: list[str] = []
    kept: list[str] = []
    for name, value, limit, unit in limits:
        if limit is None:
            continue
        within = value <= limit
        words = f"{name} {value:.4g}{unit} {'within' if within else 'above'} {limit:g}{unit}"
        (kept if within else broken).append(words)
    return not broken, f"{measured.name}: {'; '.join(broken or kept)}."
