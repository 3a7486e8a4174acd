"""How a product over a table would learn: time, families, metric, search; by task and size."""

from dataclasses import dataclass, field
from typing import Any

from ai_assets.lifecycle.profile.calendar import Calendar, calendar_of
from ai_assets.lifecycle.profile.column_types import Typed
from ai_assets.lifecycle.profile.facts import Facts
from ai_assets.lifecycle.profile.keys import cut, ends_early, parts_between, without_last
from ai_assets.lifecycle.profile.sample import Sample
from ai_assets.lifecycle.profile.target import Target

_SMALL, _FEW, _NETWORK, _LARGE, _CALIBRATED = 1_000, 3_000, 10_000, 1_000_000, 2_000
_FINE_TUNED = 5_000
_COSTLY = 1_200_000
"""Values times outputs: each is looked at for every tree, and each class has trees of its own."""
_MOST_WINDOW = 24
_RARE = 0.05


@dataclass(frozen=True)
class Plan:
    """Parts of a declaration, each with its reason.

    Attributes:
        partitions: how time is cut; None where it is not.
        training: fields of `training:`, each with a reason, empty where it goes without saying.
        gate: fields of `gate:`.
        gate_reason: why these.
        calendar: what a first query reads of the rows' moments.
    """

    partitions: dict[str, Any] | None
    partitions_reason: str
    training: dict[str, tuple[Any, str]]
    gate: dict[str, Any]
    gate_reason: str
    calendar: Calendar = field(default_factory=Calendar)


def plan(
    sample: Sample,
    target: Target,
    time: str | None,
    facts: dict[str, Facts],
    columns: dict[str, Typed],
) -> Plan:
    """How to learn from a table.

    Args:
        sample: of its rows.
        target: the task.
        time: column of the rows' moments; None of a table without.
        facts: of its columns.
        columns: their types.
    """
    partitions, reason, calendar = None, "", Calendar()
    training: dict[str, tuple[Any, str]] = {}
    if time is not None:
        low, high = facts[time].low, facts[time].high
        partitions = cut(low, high, sample.rows)
        reason = f"{time} is {low:%Y-%m-%d} to {high:%Y-%m-%d}; drop end where rows go on coming"
        if partitions is not None and ends_early(partitions, columns[time].values):
            partitions = without_last(partitions)
            reason += f": until then the last {partitions['every']}, which is not whole, waits"
        if partitions is not None:
            parts = parts_between(**partitions)
            training["window"] = (min(_MOST_WINDOW, parts), "partitions to learn from")
        window = training["window"][0] if partitions is not None else 0
        kind = str(columns[time].type)
        calendar = calendar_of(time, kind, partitions, window, columns)
    drifts = partitions is not None
    size = sample.rows, len(columns) - 1, target.outputs
    training |= families_of(*size, drifts) | _metric(target) | search_of(*size, drifts)
    if not drifts:
        training["refit"] = ("full", "judged without the test rows, served with them")
    if target.task != "regression" and sample.rows >= _CALIBRATED:
        training["calibration"] = ("sigmoid", "so that a probability is a share of cases")
    gate, gate_reason = _gate(target)
    return Plan(partitions, reason, training, gate, gate_reason, calendar)


def plan_of_items(kind: str, rows: int, target: Target, shared: str | None) -> Plan:
    """How to learn from pictures or texts.

    Args:
        kind: image or text.
        rows: how many there are.
        target: the task.
        shared: a column whose rows belong together if they are alike in it; None without.
    """
    families = {"families": (["cnn"], "reads the picture as a whole")}
    if kind == "text":
        families = {"families": (["probe", "encoder"], "they compete; encoder is fine-tuned")}
        if rows > _FINE_TUNED:
            why = f"encoder takes hours on {rows:,} texts without a GPU"
            families = {"families": (["probe"], why)}
    tune = {"tune": ({"trials": 1, "folds": 1}, "what a family takes by default; a search is slow")}
    gate, gate_reason = _gate(target)
    together: dict[str, tuple[Any, str]] = {}
    if shared is not None:
        together["split"] = ({"group": [shared]}, "several rows share one: they judge together")
    training = families | _metric(target) | together | tune
    return Plan(None, "", training, gate, gate_reason)


def families_of(rows: int, columns: int, outputs: int, drifts: bool) -> dict[str, tuple[Any, str]]:
    """The field `families:` of `training:`, with its reason; arguments as of `search_of`."""
    trees, left_out = ["lightgbm", "extra_trees"], ""
    if drifts:
        trees = ["lightgbm"]
    elif _is_costly(rows, columns, outputs):
        trees, left_out = ["lightgbm"], "; extra_trees would take as long as all of them"
    if rows < _NETWORK:
        return {"families": (["linear", *trees], f"{rows:,} rows are few for mlp{left_out}")}
    if rows > _LARGE:
        return {"families": (["linear", *trees], f"mlp takes hours on so many rows{left_out}")}
    every = ["linear", *trees, "mlp"]
    return {"families": (every, f"they compete; the best is released{left_out}")}


def _metric(target: Target) -> dict[str, tuple[Any, str]]:
    if target.task == "regression":
        counts = target.label.get("objective") == "poisson"
        return {"metric": ("poisson_deviance" if counts else "rmse", "")}
    if target.task == "binary" and target.rarest < _RARE:
        return {"metric": ("pr_auc", f"the rarer class is {target.rarest:.1%} of the rows")}
    return {"metric": ("log_loss", "judges the probability, not only the answer")}


def search_of(rows: int, columns: int, outputs: int, drifts: bool) -> dict[str, tuple[Any, str]]:
    """The field `tune:` of `training:`, with its reason.

    Args:
        rows: how many there are.
        columns: in how many they are described.
        outputs: numbers that a model answers with.
        drifts: whether the rows are of many times.
    """
    search: dict[str, Any] = {"trials": 6, "folds": 2}
    why = "sets of parameters tried for each family"
    if rows > _LARGE:
        search, why = {"trials": 5, "folds": 1}, "one fold of so many rows tells enough"
    elif drifts and rows < _SMALL:
        search = {"trials": 10, "folds": 5, "rule": "clearly_better"}
        why = "few rows favour luck"
    elif not drifts and rows < _FEW:
        search, why = {"trials": 8, "folds": 5}, "each row is held out once"
    if rows <= _LARGE and _is_costly(rows, columns, outputs):
        search |= {"trials": 3, "folds": min(2, search["folds"])}
        why = "few, for each takes long on so many values"
    return {"tune": (search if drifts else search | {"space": "wide"}, why)}


def _is_costly(rows: int, columns: int, outputs: int) -> bool:
    return rows * columns * outputs > _COSTLY


def _gate(target: Target) -> tuple[dict[str, Any], str]:
    if target.task == "binary":
        return {"min": {"roc_auc": 0.55}}, "hardly better than chance is not released; raise it"
    if target.task == "regression":
        return {"min": {"r2": 0.0}}, "worse than always the mean is not released; raise it"
    return {}, ""
