"""compressed_model: the smallest artifact that answers like the winner, within the budget."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from ai_assets.lifecycle.compression.candidates import (
    ORIGINAL,
    Measurement,
    build_candidates,
    measure,
)
from ai_assets.lifecycle.compression.choose import Choice, choose
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.parity import budget_ok, onnx_parity_ok
from ai_assets.lifecycle.compression.plot import frontier, pareto
from ai_assets.lifecycle.compression.recipes import Candidate, Job
from ai_assets.lifecycle.evaluation.plots import as_markdown_image
from ai_assets.lifecycle.learners.base import Model
from ai_assets.lifecycle.learners.lightgbm import LightGbmModel
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.conformal import fit_interval
from ai_assets.lifecycle.training.threshold import Threshold, choose_threshold
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.learning import BUDGET, PARITY
from ai_assets.stages.model import crossed_predictions, load_models
from ai_assets.stages.training_data import (
    TrainingData,
    load_training_data,
    save_folder,
    write_json,
)


def compress(run: StageRun) -> Outcome:
    """Build the candidates, measure them on validation rows and keep the one to serve.

    The candidate is chosen, and held to the budget, by the winner that test rows judge. Where the
    winner was refitted, the same recipe then makes the served graph from the refitted model: that
    one has seen the validation rows, so on them only its difference to its parent says something.
    """
    data = load_training_data(run)
    judged, served = load_models(run)
    spec = run.product.declaration.compression
    held_out = HeldOut(data.split("validation"))
    found_of: dict[str, Measurement] = {}

    def enough(candidate: Candidate) -> bool:
        found_of[candidate.name] = _measure(run, candidate, judged, held_out)
        return budget_ok(found_of[candidate.name], spec)[0]

    # Students would be chosen by the very rows that they learned from.
    only = ORIGINAL if data.crossed else None
    recipes = _candidates(run, judged, data, "train", only=only, enough=enough)
    measured = [found_of.get(c.name) or _measure(run, c, judged, held_out) for c in recipes]
    choice = choose(measured, spec)
    run.say(choice.reason)
    kept = {c.name: c for c in recipes}[choice.name]
    found = {m.name: m for m in measured}[choice.name]
    shipped, compared = kept, found
    if run.product.declaration.training.refit == "full" and not data.crossed:
        whole = ("train", "validation", "test")
        (shipped,) = _candidates(run, served, data, *whole, only=choice.name)
        compared = replace(
            _measure(run, shipped, served, held_out),
            metric=found.metric,
            metric_loss=found.metric_loss,
        )
    calibration, decision, threshold = decide(run, kept, data, held_out)
    save_folder(
        run,
        "compressed_model",
        partial(_write, kept, shipped, compared, choice, measured, calibration, decision),
    )
    return Outcome(
        content_version(kept.onnx, shipped.onnx, calibration, decision),
        {
            "served": choice.name,
            "why": choice.reason,
            "candidates": shown.table(_table(measured)),
            # Sentences beside numbers would be a word wide, and rows a page high.
            "how_each_is_made": shown.table(pl.DataFrame([_made(c) for c in recipes])),
            "pareto": shown.markdown(as_markdown_image(_pareto(run, measured, choice), "Pareto")),
            **({"threshold": threshold.value, "threshold_why": threshold.why} if threshold else {}),
            "calibration": str(calibration),
            **({"interval": str(decision.interval)} if decision.interval else {}),
            **shown.numbers(
                {
                    "size_kb": compared.size / 1e3,
                    "p50_ms": compared.p50,
                    "p99_ms": compared.p99,
                    "metric_loss": compared.metric_loss,
                    "max_difference": compared.max_difference,
                }
            ),
        },
        {PARITY.name: parity(kept, shipped, held_out), BUDGET.name: budget(run, compared)},
    )


def _table(measured: list[Measurement]) -> pl.DataFrame:
    """The candidates, the smallest first; `best` is what no other beats in size, time and loss."""
    best = frontier(measured)
    rows = [asdict(m) | {"best": m.name in best} for m in sorted(measured, key=lambda m: m.size)]
    return pl.DataFrame(rows)


def _made(candidate: Candidate) -> dict[str, str]:
    return {"name": candidate.name, "what": candidate.about}


def _pareto(run: StageRun, measured: list[Measurement], choice: Choice) -> bytes:
    declared = run.product.declaration
    return pareto(measured, declared.training.metric_for(declared.label.learned), choice.name)


def content_version(
    judged: bytes, shipped: bytes, calibration: Calibration, decision: Decision
) -> str:
    """Data version of what answers; latencies, which the clock changes, have no part in it."""
    told = (calibration.to_json() + decision.to_json()).encode()
    return sha256(judged + shipped + told).hexdigest()[:16]


def _candidates(
    run: StageRun,
    model: Model,
    data: TrainingData,
    *splits: str,
    only: str | None = None,
    enough: Callable[[Candidate], bool] | None = None,
) -> list[Candidate]:
    declared = run.product.declaration
    job = Job(
        model,
        data.split(*splits),
        data.split("validation"),
        declared.compression,
        declared.label.learned,
        declared.training.seed,
        declared.training.threads,
        declared.training.device,
    )
    return build_candidates(job, only=only, enough=enough)


def _measure(run: StageRun, candidate: Candidate, parent: Model, held_out: HeldOut) -> Measurement:
    declared = run.product.declaration
    metric, task = declared.training.metric_for(declared.label.learned), declared.label.learned
    return measure(candidate, parent, held_out, metric=metric, task=task)


def decide(
    run: StageRun, judged: Candidate, data: TrainingData, held_out: HeldOut
) -> tuple[Calibration, Decision, Threshold | None]:
    """Calibrate the chosen graph itself, and choose its threshold, both on validation rows.

    Of several classes the likeliest (or the cheapest) is the answer and of a regression the value,
    so those have no threshold. The interval beside a value is measured on the same rows.
    A student answers a little differently from the winner, so the winner's calibration is not its.
    """
    declared = run.product.declaration
    y, scores = _held_out_scores(run, judged, data, held_out)
    calibration = fit_calibration(declared.training.calibration, scores, y)
    label, answers, costs = declared.label, declared.answers, declared.costs
    if label.task != "binary":
        share, counts = label.interval, label.learned == "count"
        beside = None if share is None else fit_interval(y, scores[:, 0], share, counts=counts)
        decision = Decision(label.task, classes=answers, interval=beside, costs=costs)
        return calibration, decision, None
    threshold = choose_threshold(y, calibration.apply(scores)[:, 0], costs)
    decision = Decision(label.task, label.positive, threshold.value, answers, costs=costs)
    return calibration, decision, threshold


def _held_out_scores(
    run: StageRun, judged: Candidate, data: TrainingData, held_out: HeldOut
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes [n] and scores [n, K] of rows that what is judged did not learn from.

    Of crossed rows those of one repeat, so that each row counts once.
    """
    if data.crossed:
        return data.whole.y, crossed_predictions(run, "model")[0]
    return held_out.rows.y, held_out.of_graph(judged)


def parity(judged: Candidate, shipped: Candidate, held_out: HeldOut) -> Finding:
    """Whether both graphs, the judged and the served one, answer like their models."""
    results = [
        onnx_parity_ok(c.model, c, held_out) for c in (judged, shipped) if c.model is not None
    ]
    if not results:
        return Finding(True, "The graph is quantized: the budget says how far it may differ.")
    broken = [words for ok, words in results if not ok]
    return Finding(not broken, " ".join(broken) or results[-1][1])


def budget(run: StageRun, measured: Measurement) -> Finding:
    """Whether what is served is within the declared budget of its parent."""
    passed, words = budget_ok(measured, run.product.declaration.compression)
    return Finding(passed, words, {k: v for k, v in asdict(measured).items() if k != "name"})


def _write(
    judged: Candidate,
    shipped: Candidate,
    compared: Measurement,
    choice: Choice,
    measured: list[Measurement],
    calibration: Calibration,
    decision: Decision,
    folder: Path,
) -> None:
    (folder / "calibration.json").write_text(calibration.to_json(), encoding="utf-8")
    (folder / "decision.json").write_text(decision.to_json(), encoding="utf-8")
    (folder / "model.onnx").write_bytes(shipped.onnx)
    (folder / "judged.onnx").write_bytes(judged.onnx)
    if isinstance(shipped.model, LightGbmModel):
        (folder / "trees.txt").write_text(shipped.model.text, encoding="utf-8")
    content = {
        **asdict(compared),
        "family": shipped.family,
        "reason": choice.reason,
        "candidates": [asdict(m) for m in measured],
    }
    write_json(folder, "chosen.json", content)
