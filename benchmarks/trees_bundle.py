"""The newest bundle with a LightGBM model in the place of its own, and its compressed forms.

The servers that ours is compared with serve this model too, whichever family has won.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flights import product
from newest_bundle import newest_bundle

from ai_assets.lifecycle.compression.candidates import build_candidates, measure
from ai_assets.lifecycle.compression.choose import choose
from ai_assets.lifecycle.compression.held_out import HeldOut
from ai_assets.lifecycle.compression.parity import budget_ok
from ai_assets.lifecycle.compression.recipes import Candidate, Job
from ai_assets.lifecycle.compression.tree_students import STUDENT
from ai_assets.lifecycle.learners.lightgbm import LightGbm, LightGbmModel
from ai_assets.resources import default_resources
from ai_assets.serving.signature import verified
from ai_assets.stages.binding import StageRun, Tools
from ai_assets.stages.training_data import TrainingData, load_training_data


@dataclass(frozen=True)
class Trees:
    """A model as trees, in a bundle and beside it.

    Attributes:
        product: name of the product.
        payload: folder of the bundle, signed.
        booster: the `lightgbm.Booster`.
        matrix: float32 [n, f]: test rows, encoded as the model sees them.
        candidates: graphs by name: `onnx` is the model itself, `student` the distilled one: of
            those that the pipeline tries the smallest within the budget, or the nearest to it.
        student: whether the student keeps the declared budget, and how near it comes, in words.
        kept: which of them the declared budget would have served.
    """

    product: str
    payload: Path
    booster: Any
    matrix: np.ndarray
    candidates: dict[str, bytes] = field(repr=False)
    student: tuple[bool, str]
    kept: str


def trees_bundle(folder: Path) -> Trees:
    """Make it below `folder` from the flights' newest bundle and the lake beside it."""
    declared = product()
    payload = newest_bundle(declared.name)[1]
    manifest, _ = verified(payload)
    resources = default_resources()
    tools = Tools(**{n: r for n, r in resources.items() if n in Tools.__annotations__})
    data = load_training_data(StageRun(declared, manifest["partition"], tools))
    training = declared.declaration.training
    model = LightGbm().fit(
        data.split("train"),
        data.split("validation"),
        LightGbm().defaults(),
        task="binary",
        seed=training.seed,
        threads=training.threads,
    )
    candidates = compressed(model, data)
    made = folder / "product"
    shutil.copytree(payload, made)
    (made / "model.onnx").write_bytes(candidates["onnx"].onnx)
    (made / "trees.txt").write_text(model.text, encoding="utf-8")
    facts = {key: value for key, value in manifest.items() if key not in ("files", "format")}
    tools.signer.sign(made, facts)
    spec, judged = declared.declaration.compression, judge(candidates, model, data)
    student = choose([m for n, m in judged.items() if n.startswith(STUDENT)], spec).name
    graphs = {
        each: candidates[name].onnx for each, name in (("onnx", "onnx"), ("student", student))
    }
    return Trees(
        declared.name,
        made,
        model.booster,
        data.split("test").x,
        graphs,
        budget_ok(judged[student], spec),
        choose(list(judged.values()), spec).name,
    )


def compressed(model: LightGbmModel, data: TrainingData) -> dict[str, Candidate]:
    """What the product's pipeline would make of the model, by name."""
    training = product().declaration.training
    job = Job(
        model,
        data.split("train"),
        data.split("validation"),
        product().declaration.compression,
        "binary",
        training.seed,
        training.threads,
    )
    found = build_candidates(job)
    return {candidate.name: candidate for candidate in found}


def judge(
    candidates: dict[str, Candidate], model: LightGbmModel, data: TrainingData
) -> dict[str, Any]:
    """Each candidate's size, latency and loss on validation rows."""
    held_out = HeldOut(data.split("validation"))
    metric = product().declaration.training.metric_for("binary")
    return {
        name: measure(candidate, model, held_out, metric=metric, task="binary")
        for name, candidate in candidates.items()
    }
