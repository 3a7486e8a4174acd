"""Fitting one family as the product declares it: with its device and its class weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.features.encoding import UNSEEN
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import OF_VALUES, Dataset, Family, Model, OnStep, Task
from ai_assets.lifecycle.learners.blend import FAMILY as BLEND
from ai_assets.lifecycle.learners.blend import BlendModel, load_blend
from ai_assets.lifecycle.learners.lightgbm import LightGbmModel
from ai_assets.lifecycle.training.lanes import fit_in_lanes
from ai_assets.lifecycle.training.reductions import reduced
from ai_assets.lifecycle.training.reweighing import reweighed
from ai_assets.lifecycle.training.spec import Training


def declared_family(name: str, training: Training, checkpoint: Path | None = None) -> Family:
    """The family of that name, on the declared device.

    Args:
        name: of the family.
        training: the declaration.
        checkpoint: where a family that can keeps the state of a fit, to go on after a kill.
    """
    if name == "mlp" and training.device != "auto":
        from ai_assets.lifecycle.learners.mlp import Mlp

        return Mlp(training.device)
    if name == "cnn":
        from ai_assets.lifecycle.learners.cnn import Cnn

        return Cnn(training.device, checkpoint)
    if name == "encoder":
        from ai_assets.lifecycle.learners.encoder import Encoder

        return Encoder(training.device, checkpoint)
    if name == "lightgbm":
        from ai_assets.lifecycle.learners.lightgbm import LightGbm

        return LightGbm(training.tune.space)
    return get_family(name)


def load_model(name: str, folder: Path, training: Training) -> Model:
    """Read a model that was saved: of a family, or a blend."""
    return load_blend(folder) if name == BLEND else declared_family(name, training).load(folder)


def learnable(data: Dataset, family: str, training: Training, task: Task) -> Dataset:
    """The rows as a family may learn from them: ignored features constant, rows weighted.

    A constant column has no split, no scale and no category of its own, so that whatever value it
    has later changes no prediction.

    Raises:
        DeclarationError: an ignored feature does not exist.
    """
    names = [column.name for column in data.encoding.columns]
    x, ignored = data.x, training.ignored_by(family)
    for name in ignored:
        if name not in names:
            raise DeclarationError(must_be("ignore_features", names, name))
    if ignored:
        x = x.copy()
        for position, column in enumerate(data.encoding.slots):
            if column.name in ignored:
                x[:, position] = UNSEEN if column.kind == "categorical" else 0.0
    return weighted(replace(data, x=x), training, task)


def weighted(data: Dataset, training: Training, task: Task) -> Dataset:
    """The rows as a mitigation has groups of people answered alike, and with classes equal.

    The first where the rows have protected groups, whose mitigation gives weights and may have a
    row teach another label; the second if the product declares `balanced`. Weights have mean 1 and
    multiply those that rows already have. A regression has no classes.
    """
    if task in OF_VALUES or (training.class_weight == "none" and data.protected is None):
        return data
    base = np.ones(len(data)) if data.weight is None else data.weight
    if (protected := data.protected) is not None and protected.spec.mitigation == "reductions":
        y, base = reduced(data, protected, training)
        data = replace(data, y=y)
    elif protected is not None:
        base = reweighed(protected.groups, data.y, base)
    if training.class_weight == "none":
        return replace(data, weight=base / base.mean())
    classes = data.y.astype(np.int64)
    totals = np.bincount(classes, weights=base)
    weight = base / totals[classes]
    return replace(data, weight=weight / weight.mean())


def fit_model(
    family: str,
    train: Dataset,
    validation: Dataset,
    params: dict[str, Any],
    *,
    training: Training,
    task: Task,
    on_step: OnStep | None = None,
    checkpoint: Path | None = None,
) -> Model:
    """Fit on train rows; validation rows, never weighted by class or group, say when to stop."""
    return declared_family(family, training, checkpoint).fit(
        learnable(train, family, training, task),
        validation,
        params,
        task=task,
        seed=training.seed,
        threads=training.threads,
        on_step=on_step,
    )


def fit_together(
    weights: dict[str, float],
    train: Dataset,
    validation: Dataset,
    params: dict[str, dict[str, Any]],
    *,
    training: Training,
    task: Task,
) -> Model:
    """Fit all families that have something to say: the one model, or their blend.

    Args:
        weights: what each family has to say; they sum to 1.
        train: rows to learn from.
        validation: rows that say when to stop.
        params: parameters of each family.
        training: the product's declaration.
        task: what is predicted.
    """

    def fitted(name: str, lane: Training) -> Model:
        return fit_model(name, train, validation, params[name], training=lane, task=task)

    members = fit_in_lanes(list(weights), fitted, training, train)
    return together([_answering(m, training) for m in members], weights, task)


def together(members: list[Model], weights: dict[str, float], task: Task) -> Model:
    """Models of the weighted families, in their order, as one."""
    alone = len(members) == 1
    return members[0] if alone else BlendModel(task, members, list(weights.values()))


def _answering(model: Model, training: Training) -> Model:
    """The model with all threads to answer by, however many it was fitted with."""
    return replace(model, threads=training.threads) if isinstance(model, LightGbmModel) else model


def refit_model(
    model: Model,
    everything: Dataset,
    params: dict[str, dict[str, Any]],
    *,
    training: Training,
    task: Task,
) -> Model:
    """Fit the model's family again on all rows, for as many iterations as the model had.

    Of a blend each member is fitted again, trees beside the others.

    Args:
        model: the model that validation rows stopped.
        everything: all rows of the window.
        params: parameters of each family.
        training: the product's declaration.
        task: what is predicted.
    """
    if isinstance(model, BlendModel):
        member = {m.family: m for m in model.members}

        def again(name: str, lane: Training) -> Model:
            return refit_model(member[name], everything, params, training=lane, task=task)

        members = fit_in_lanes(list(member), again, training, everything)
        return BlendModel(task, [_answering(m, training) for m in members], model.weights)
    return fit_family_again(
        model.family,
        everything,
        params[model.family],
        model.iterations,
        training=training,
        task=task,
    )


def fit_family_again(
    family: str,
    everything: Dataset,
    params: dict[str, Any],
    iterations: int,
    *,
    training: Training,
    task: Task,
) -> Model:
    """Fit a family on all rows, for as many iterations as others took on some of them."""
    return declared_family(family, training).fit(
        learnable(everything, family, training, task),
        None,
        params | {"iterations": iterations},
        task=task,
        seed=training.seed,
        threads=training.threads,
    )
