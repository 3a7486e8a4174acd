"""model_card: one page of what a person should know before using the model."""

from pathlib import Path
from typing import Any

from ai_assets.lifecycle.card.card import CardFeature, CardInputs, model_card
from ai_assets.lifecycle.evaluation.evaluate import Evaluation
from ai_assets.lifecycle.features.lineage import column_lineage
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.durations import format_duration
from ai_assets.stages import shown
from ai_assets.stages.binding import Outcome, StageRun, digest
from ai_assets.stages.bundle import data_versions
from ai_assets.stages.fairness import FILE as FAIRNESS
from ai_assets.stages.features import schemas
from ai_assets.stages.learnable import learned_partitions
from ai_assets.stages.training_data import (
    artifact,
    load_training_data,
    read_json,
    save_folder,
)

_FAMILY_COLUMNS = ("family", "value", "difference", "low", "high", "clear")


def write_card(run: StageRun) -> Outcome:
    """Gather what the stages before found and write the card."""
    text = model_card(card_inputs(run))

    def write(folder: Path) -> None:
        (folder / "model_card.md").write_text(text, encoding="utf-8")

    version = save_folder(run, "model_card", write)
    path = artifact(run, "model_card") / "model_card.md"
    return Outcome(version, {"card": shown.markdown(text), "file": shown.path(path)})


def card_inputs(run: StageRun) -> CardInputs:
    """What the card says, read from the artifacts of the stages before it."""
    declared = run.product.declaration
    winner = read_json(artifact(run, "model"), "winner.json")
    served = artifact(run, "compressed_model")
    chosen = read_json(served, "chosen.json")
    calibration = Calibration.from_json((served / "calibration.json").read_text(encoding="utf-8"))
    rows = load_training_data(run).rows["split"].value_counts()
    return CardInputs(
        product=run.product.name,
        description=declared.description,
        evaluation=read_evaluation(run),
        task=declared.label.task,
        answers=_answers(run.product),
        partition=run.partition,
        horizon=format_duration(declared.horizon),
        owners=tuple(declared.owners),
        family=f"{winner['family']}, served as {chosen['name']} ({chosen['family']})",
        families=[{name: row[name] for name in _FAMILY_COLUMNS} for row in winner["families"]],
        metric=declared.training.metric_for(declared.label.learned),
        window=", ".join(learned_partitions(run) or ["all rows"]),
        rows=dict(rows.sort("split").iter_rows()),
        data_versions=data_versions(run),
        code_version=digest(declared.model_dump_json()),
        refit=declared.training.refit == "full",
        calibration=calibration.method,
        compression={k: v for k, v in chosen.items() if k not in ("candidates", "reason")},
        features=card_features(run),
        personal=_personal(run.product),
        sensitive=_sensitive(run.product),
        intended_use=declared.card.intended_use,
        out_of_scope=declared.card.out_of_scope,
        licence=declared.card.licence,
        notes=tuple(declared.card.notes),
        items=_found_of(run),
    )


def _answers(product: Product) -> dict[str, str]:
    label = product.declaration.label
    if label.task == "regression":
        return {"The answer is": label.sql}
    if product.declaration.classes:
        return {"Classes": ", ".join(product.declaration.answers), "The class is": label.sql}
    return {"A positive answer means": f"{label.positive}: {label.sql}"}


def read_evaluation(run: StageRun) -> Evaluation:
    """What the evaluation of the run's partition found."""
    path = artifact(run, "evaluation") / "evaluation.json"
    return Evaluation.from_json(path.read_text(encoding="utf-8"))


def _found_of(run: StageRun) -> dict[str, Any]:
    """What the evaluation found of items and of groups of people, by the title of its section."""
    folder = artifact(run, "evaluation")
    of_items = read_json(folder, "items.json") if (folder / "items.json").is_file() else {}
    if run.product.declaration.fairness is None:
        return dict(of_items)
    return {**of_items, **read_json(folder, FAIRNESS)["card"]}


def card_features(run: StageRun) -> tuple[CardFeature, ...]:
    """Each feature with its importance and the columns that it is made of."""
    importances = read_json(artifact(run, "model"), "importances.json")
    lineage = column_lineage(run.product.features_sql, schemas(run.product))
    return tuple(
        CardFeature(name, share, tuple(f"{t}.{c}" for t, c in lineage.get(name, ())))
        for name, share in sorted(importances.items(), key=lambda item: -item[1])
    )


def _personal(product: Product) -> tuple[str, ...]:
    """Columns of personal data, with how it is treated where it is."""
    tables = product.declaration.tables.items()
    treated = {
        f"{name}.{column}": f"{name}.{column} ({spec.personal})"
        for name, table in tables
        for column, spec in table.plain.items()
    }
    marked = {name: name for name in _columns(product, "personal")}
    return tuple((marked | treated).values())


def _sensitive(product: Product) -> tuple[str, ...]:
    """Columns that name groups of people, marked so or judged by."""
    declared = product.declaration
    judged = declared.fairness.columns if declared.fairness else []
    names = [f"{declared.request}.{name}" for name in judged]
    return tuple(dict.fromkeys([*_columns(product, "sensitive"), *names]))


def _columns(product: Product, mark: str) -> tuple[str, ...]:
    tables = product.declaration.tables.items()
    return tuple(
        f"{name}.{column}"
        for name, table in tables
        for column, spec in table.columns.items()
        if getattr(spec, mark)
    )
