"""What compression saves and what it costs, over the folds of a product's data.

Images: networks of several sizes are fitted on each of five folds of the digits. The original is
the smallest whose accuracy over the folds is within half a point of the best one's. On each fold
the pipeline's own search compresses it within the default budget, as told by validation rows;
test rows then judge both. The other side is a model of the compressed one's size, in bytes, trained
directly: by the labels, for as many epochs; of a dense one and one of convolutions the better.

Texts: see `topics.py`.
"""

import sys
from dataclasses import dataclass, field, replace
from statistics import mean, median
from typing import Any

import numpy as np
import polars as pl
import topics
from digits import THREADS, Fold, digits, folds
from figures import Figure, report

from ai_assets.lifecycle.compression import image_networks
from ai_assets.lifecycle.compression.candidates import Measurement, build_candidates, measure
from ai_assets.lifecycle.compression.choose import choose
from ai_assets.lifecycle.compression.onnx_session import (
    open_session,
    run_session,
    single_row_latency,
)
from ai_assets.lifecycle.compression.parity import budget_ok
from ai_assets.lifecycle.compression.quantization import int8_weights
from ai_assets.lifecycle.compression.recipes import Candidate, Job
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.learners.base import loss
from ai_assets.lifecycle.learners.cnn import Cnn, CnnModel
from ai_assets.lifecycle.learners.cnn_network import Architecture, Weights
from ai_assets.lifecycle.learners.cnn_training import Course, train_cnn

TRIED = (
    {"width": 8, "blocks": 1},
    {"width": 16, "stages": 2},
    *({"width": width, "blocks": blocks} for width in (16, 24, 32) for blocks in (1, 2)),
)
"""Sizes of the residual network: those of its search space, and some below them."""
BUDGET = Compression()
WITHIN = 0.005
SMALLER, FASTER, MOST_LOST = 8.0, 3.0, 0.005
ROUNDS, REPEATS = 9, 1000


@dataclass
class Sides:
    """What the folds found, a number a fold."""

    original: list[bytes] = field(default_factory=list)
    compressed: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def count(self, name: str, hits: int) -> None:
        """Add right answers of one fold."""
        self.hits[name] = self.hits.get(name, 0) + hits


def main() -> int:
    """Measure; 1 if a goal is missed."""
    return report([*image_figures(), *topics.figures_of_compression()])


def image_figures() -> list[Figure]:
    """digit_reading's network against its compressed form."""
    data = digits()
    every = list(folds(data))
    fitted = {str(size): [fit(fold, size) for fold in every] for size in TRIED}
    original = smallest_good(fitted, every, len(data))
    sides = Sides()
    for fold, model in zip(every, original, strict=True):
        compress(fold, model, sides)
    show(sides, len(data))
    return figures(sides, len(data))


def fit(fold: Fold, size: dict[str, int]) -> CnnModel:
    """The network of a size, fitted on a fold."""
    return Cnn("cpu").fit(
        fold.train,
        fold.validation,
        dict(size),
        task="multiclass",
        seed=fold.number,
        threads=THREADS,
    )


def smallest_good(
    fitted: dict[str, list[CnnModel]], every: list[Fold], rows: int
) -> list[CnnModel]:
    """The models of the smallest size within half a point of the best, by accuracy."""
    accuracy = {
        name: sum(fold.hits(m.predict(fold.test.x)) for fold, m in zip(every, models, strict=True))
        / rows
        for name, models in fitted.items()
    }
    size = {name: len(models[0].to_onnx()) for name, models in fitted.items()}
    good = [name for name in fitted if accuracy[name] >= max(accuracy.values()) - WITHIN]
    chosen = min(good, key=lambda name: size[name])
    for name in sorted(fitted, key=lambda name: size[name]):
        mark = " (the original)" if name == chosen else ""
        print(f"{name}: {size[name]:,} bytes, accuracy {accuracy[name]:.4f}{mark}")
    return fitted[chosen]


def compress(fold: Fold, model: CnnModel, sides: Sides) -> None:
    """Search a compressed form on one fold, and let its test rows judge."""
    job = Job(model, fold.train, fold.validation, BUDGET, "multiclass", fold.number, THREADS, "cpu")
    parent, found = model.predict(fold.validation.x), {}

    def measured(candidate: Candidate) -> Measurement:
        if candidate.name not in found:
            found[candidate.name] = measure(
                candidate, fold.validation, parent, metric="log_loss", task="multiclass"
            )
        return found[candidate.name]

    made = build_candidates(job, enough=lambda candidate: budget_ok(measured(candidate), BUDGET)[0])
    for candidate in made:
        each, hits = measured(candidate), fold.hits(answers(candidate.onnx, fold))
        row = {"name": each.name, "bytes": each.size, "p50": each.p50, "p99": each.p99}
        sides.rows.append(row | {"loss": each.metric_loss, "accuracy": hits / len(fold.test)})
    choice = choose([measured(candidate) for candidate in made], BUDGET)
    kept = next(candidate for candidate in made if candidate.name == choice.name)
    sides.names.append(choice.name)
    sides.original.append(made[0].onnx)
    sides.compressed.append(kept.onnx)
    sides.count("original", fold.hits(answers(made[0].onnx, fold)))
    sides.count("compressed", fold.hits(answers(kept.onnx, fold)))
    direct = of_size(job, len(kept.onnx))
    sides.count("direct", fold.hits(direct.predict(fold.test.x)))
    same = image_networks.dense_of(model.weights.architecture, image_networks.DENSE_UNITS[1])
    twin = taught_by_labels(job, same, image_networks.DENSE_EPOCHS)
    sides.count("twin", fold.hits(answers(int8_weights(twin.to_onnx()), fold)))


def answers(graph: bytes, fold: Fold) -> np.ndarray:
    """Predictions [n, K] of a fold's test rows."""
    return run_session(open_session(graph), fold.test.x)


def of_size(job: Job, size: int) -> CnnModel:
    """The largest network in floats, dense or of convolutions, that learns the labels best.

    "Largest" by the bytes of its graph, at most those of the compressed one; validation says which
    of the two is better.
    """
    assert isinstance(job.winner, CnnModel)
    of = job.winner.weights.architecture
    epochs = max(image_networks.STUDENT_EPOCHS, image_networks.DENSE_EPOCHS)
    made = []
    for kind in (image_networks.student_of, image_networks.dense_of):
        fits = [a for a in (kind(of, width) for width in range(4, 65)) if bytes_of(job, a) <= size]
        made += [taught_by_labels(job, fits[-1], epochs)] if fits else []
    validation = job.validation
    return min(made, key=lambda m: loss(job.task, validation.y, m.predict(validation.x), None))


def bytes_of(job: Job, architecture: Architecture) -> int:
    """Bytes of the graph of a network, whatever its numbers are."""
    assert isinstance(job.winner, CnnModel)
    arrays = {name: np.ones(shape, np.float32) for name, shape in architecture.tensors().items()}
    return len(replace(job.winner, weights=Weights(architecture, arrays)).to_onnx())


def taught_by_labels(job: Job, architecture: Architecture, epochs: int) -> CnnModel:
    """A network without a teacher."""
    assert isinstance(job.winner, CnnModel)
    settings = job.winner.settings | {"epochs": epochs, "dropout": 0.0}
    course = Course("multiclass", settings, job.seed, THREADS, "cpu", patience=epochs)
    place = slice(*job.winner.place)
    trained = train_cnn(
        Weights(architecture, {}), job.train, job.validation, place, course, fresh=True
    )
    return replace(job.winner, weights=trained.weights)


def show(sides: Sides, rows: int) -> None:
    """Every candidate, in the mean over the folds that built it."""
    table = pl.DataFrame(sides.rows).group_by("name", maintain_order=True)
    numbers = pl.col("bytes", "p50", "p99", "loss", "accuracy").mean()
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=4):
        print(table.agg(pl.len().alias("folds"), numbers).sort("bytes"))
    print(f"served: {', '.join(sides.names)}")
    twin = sides.hits["twin"] / rows
    print(f"the dense student's network taught by the labels alone, 8-bit weights: {twin:.4f}")


def latencies(sides: Sides) -> tuple[float, float]:
    """Medians in microseconds of a row through original and compressed, in turns."""
    x = digits().x
    pairs = list(zip(sides.original, sides.compressed, strict=True))
    opened = [tuple(open_session(graph) for graph in pair) for pair in pairs]
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for pair in opened:
            for side, session in enumerate(pair):
                taken[side].append(single_row_latency(session, x, REPEATS)[0] * 1e3)
    return median(taken[0]), median(taken[1])


def figures(sides: Sides, rows: int) -> list[Figure]:
    """The goals."""
    before, after = (mean(map(len, graphs)) for graphs in (sides.original, sides.compressed))
    slow, quick = latencies(sides)
    accuracy = {name: hits / rows for name, hits in sides.hits.items()}
    lost = accuracy["original"] - accuracy["compressed"]
    return [
        Figure(
            "image: compressed, size",
            f"{after / 1e3:.1f} kB",
            f"{before / 1e3:.1f} kB, original",
            before / after,
            f"at least {SMALLER:.0f} times smaller",
            before / after >= SMALLER,
        ),
        Figure(
            "image: compressed, one row (p50)",
            f"{quick:.1f} µs",
            f"{slow:.1f} µs, original",
            slow / quick,
            f"at least {FASTER:.0f} times faster",
            slow / quick >= FASTER,
        ),
        Figure(
            "image: compressed, accuracy over 5 folds",
            f"{accuracy['compressed']:.4f}",
            f"{accuracy['original']:.4f}, original",
            None,
            f"at most {MOST_LOST} lost",
            lost <= MOST_LOST,
        ),
        Figure(
            "image: a model of its size trained directly",
            f"{accuracy['compressed']:.4f}",
            f"{accuracy['direct']:.4f}",
            None,
            "better",
            accuracy["compressed"] > accuracy["direct"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
