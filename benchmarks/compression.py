"""What compression saves and what it costs, over the folds of a product's data.

Images: networks of several sizes are fitted on each of five folds of the digits. The original is
the smallest whose accuracy over the folds is within half a point of the best one's. Every form that
the pipeline's own search knows is made of it on each fold, and the pipeline's rule chooses one for
all folds: the smallest within the default budget, by the mean over the folds' validation rows (180
of one fold are too few to tell half a point). Test rows then judge both. The other side is a model
of the compressed one's size, in bytes, trained directly: by the labels, for as many epochs; of a
dense one and one of convolutions the better.

Texts: see `topics.py`.
"""

import sys
from dataclasses import dataclass, field, fields, replace
from statistics import mean, median
from typing import Any

import numpy as np
import polars as pl
import topics
from digits import THREADS, Fold, digits, folds
from figures import Figure, report

from ai_assets.lifecycle.compression import image_networks
from ai_assets.lifecycle.compression.candidates import (
    ORIGINAL,
    Measurement,
    build_candidates,
    measure,
)
from ai_assets.lifecycle.compression.choose import choose
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.onnx_session import (
    open_session,
    run_session,
    single_row_latency,
)
from ai_assets.lifecycle.compression.quantization import int8_weights
from ai_assets.lifecycle.compression.recipes import Candidate, Job
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.learners.base import loss
from ai_assets.lifecycle.learners.cnn import Cnn, CnnModel
from ai_assets.lifecycle.learners.cnn_network import Architecture, Weights
from ai_assets.lifecycle.learners.cnn_training import train_cnn
from ai_assets.lifecycle.learners.training_loop import Course

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
    chosen: str = ""
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
    compress(every, original, sides)
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


def compress(every: list[Fold], models: list[CnnModel], sides: Sides) -> None:
    """Every compressed form on every fold; validation rows of all folds choose one of them."""
    jobs = [job_of(fold, model) for fold, model in zip(every, models, strict=True)]
    made = [{c.name: c for c in build_candidates(job)} for job in jobs]
    found = [measured(job, each) for job, each in zip(jobs, made, strict=True)]
    mean_of = [mean_measurement([each[name] for each in found]) for name in found[0]]
    sides.chosen = choose(mean_of, BUDGET).name
    for fold, job, candidates in zip(every, jobs, made, strict=True):
        judge(fold, job, candidates, sides)
    for each in mean_of:
        accuracy = sides.hits[each.name] / sum(len(fold.test) for fold in every)
        row = {"name": each.name, "bytes": each.size, "p50": each.p50, "p99": each.p99}
        sides.rows.append(row | {"loss": each.metric_loss, "accuracy": accuracy})


def job_of(fold: Fold, model: CnnModel) -> Job:
    """What is to be compressed on a fold."""
    return Job(
        model,
        fold.train,
        fold.validation,
        BUDGET,
        task="multiclass",
        seed=fold.number,
        threads=THREADS,
        device="cpu",
    )


def measured(job: Job, made: dict[str, Candidate]) -> dict[str, Measurement]:
    """What each candidate of a fold is like, on the fold's validation rows."""
    held_out = HeldOut(job.validation)
    return {
        name: measure(each, job.winner, held_out, metric="log_loss", task=job.task)
        for name, each in made.items()
    }


def mean_measurement(parts: list[Measurement]) -> Measurement:
    """The mean over the folds."""
    values = {
        part.name: mean(getattr(each, part.name) for each in parts)
        for part in fields(Measurement)
        if part.name != "name"
    }
    return Measurement(name=parts[0].name, **values)


def judge(fold: Fold, job: Job, made: dict[str, Candidate], sides: Sides) -> None:
    """Right answers on a fold's test rows: of all candidates, and of what one would try instead."""
    for name, candidate in made.items():
        sides.count(name, fold.hits(answers(candidate.onnx, fold)))
    kept = made[sides.chosen].onnx
    sides.original.append(made[ORIGINAL].onnx)
    sides.compressed.append(kept)
    sides.count("direct", fold.hits(of_size(job, len(kept)).predict(fold.test.x)))
    assert isinstance(job.winner, CnnModel)
    same = image_networks.dense_of(job.winner.weights.architecture, image_networks.DENSE_UNITS[0])
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
    """Every candidate, in the mean over the folds."""
    with pl.Config(tbl_rows=-1, tbl_hide_dataframe_shape=True, float_precision=4):
        print(pl.DataFrame(sides.rows).sort("bytes"))
    print(f"served: {sides.chosen}")
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
    lost = accuracy[ORIGINAL] - accuracy[sides.chosen]
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
            f"{accuracy[sides.chosen]:.4f}",
            f"{accuracy[ORIGINAL]:.4f}, original",
            None,
            f"at most {MOST_LOST} lost",
            lost <= MOST_LOST,
        ),
        Figure(
            "image: a model of its size trained directly",
            f"{accuracy[sides.chosen]:.4f}",
            f"{accuracy['direct']:.4f}",
            None,
            "better",
            accuracy[sides.chosen] > accuracy["direct"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
