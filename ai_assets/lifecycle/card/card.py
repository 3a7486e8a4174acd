"""The model card: one Markdown page of what a person should know before using the model.

After Mitchell et al. (2019), "Model Cards for Model Reporting". A pure function of its inputs: no
clock, no file, no network; the same model gives the same page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ai_assets.lifecycle.evaluation.bootstrap import Estimate
from ai_assets.lifecycle.evaluation.evaluate import Evaluation
from ai_assets.lifecycle.evaluation.metrics import METRICS
from ai_assets.lifecycle.evaluation.names import MAIN_METRIC
from ai_assets.lifecycle.evaluation.slices import worst_slices

_WORST = 8
_FEATURES = 25


@dataclass(frozen=True)
class CardFeature:
    """A feature as the card tells it: its share of importance (0 to 1) and the columns behind it,
    each as `table.column`."""

    name: str
    importance: float | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class CardInputs:
    """Everything that the card says. What is empty is left out, or named as not declared.

    Attributes:
        product: Name of the product.
        description: What is asked, for people.
        task: binary, multiclass or regression.
        answers: What the answers mean, by what they are called.
        partition: Key of the partition that the model is of; None without partitions.
        horizon: How long before the event the answer is given, in words.
        owners: Who answers for it.
        intended_use: Whom and what it is for.
        out_of_scope: What it must not be used for.
        family: The family that is served.
        families: A row a family: its name and what was found on validation rows.
        metric: The metric that chose the family.
        window: The training window, in words.
        rows: Rows by part: train, validation, test.
        data_versions: Version of each table that it was trained on.
        code_version: Version of the code.
        refit: Whether the served model was fitted again on all rows, which no test row judges.
        evaluation: What was found on test rows.
        calibration: How scores were calibrated, in words.
        compression: What was measured of the served model: sizes, times, losses.
        features: The features.
        limits: The gate's limits: `limit`, `value`, `allowed`, `passed`; None before the gate.
        personal: Columns with personal data, as `table.column`.
        sensitive: Columns that name a group for which fairness matters.
        items: What was found of pictures or texts and of groups of people, by title: `words`, and
            the `columns` and `rows` of a table.
        notes: What else people should know, a paragraph each.
        licence: Licence of model and data.
        pictures: Markdown images, by title.
    """

    product: str
    description: str
    evaluation: Evaluation
    task: str = "binary"
    answers: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None
    horizon: str = ""
    owners: tuple[str, ...] = ()
    intended_use: str = ""
    out_of_scope: str = ""
    family: str = ""
    families: Sequence[Mapping[str, object]] = ()
    metric: str = "log_loss"
    window: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    data_versions: Mapping[str, object] = field(default_factory=dict)
    code_version: str = ""
    refit: bool = False
    calibration: str = ""
    compression: Mapping[str, object] = field(default_factory=dict)
    features: Sequence[CardFeature] = ()
    limits: pl.DataFrame | None = None
    personal: tuple[str, ...] = ()
    sensitive: tuple[str, ...] = ()
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    licence: str = ""
    pictures: Mapping[str, str] = field(default_factory=dict)


def model_card(inputs: CardInputs) -> str:
    """The card as Markdown, ending with a newline."""
    parts = [
        _head(inputs),
        _section("Use", _use(inputs)),
        _section("Training", _training(inputs)),
        _section("Performance", _performance(inputs)),
        _section("Slices", _slices(inputs)),
        _section("Calibration", _calibration(inputs)),
        *(_section(title, _found(found)) for title, found in inputs.items.items()),
        _section("Limits for release", _limits(inputs)),
        _section("What is served", _compression(inputs)),
        _section("Features", _features(inputs)),
        _section("People and ethics", _ethics(inputs)),
        _section("How to serve", _serve(inputs)),
        _section("Licence", inputs.licence or "Not declared."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(inputs: CardInputs) -> str:
    of = f", {inputs.partition}" if inputs.partition else ""
    return f"# Model card: {inputs.product}{of}\n\n{inputs.description}"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _use(inputs: CardInputs) -> str:
    facts = {
        "Task": inputs.task,
        **inputs.answers,
        "Answer given ahead by": inputs.horizon,
        "Owners": ", ".join(inputs.owners),
        "Intended use": inputs.intended_use or "the question above, for data like the training's",
        "Not for": inputs.out_of_scope or "decisions about a person without a person's review",
    }
    return _facts(facts)


def _training(inputs: CardInputs) -> str:
    rows = ", ".join(f"{part} {count:,}" for part, count in inputs.rows.items())
    facts = {
        "Family": inputs.family,
        "Training window": inputs.window,
        "Rows": rows,
        "Code version": inputs.code_version,
    }
    refit = (
        "The served model was fitted again on all rows of the window with the parameters found. "
        "The figures below judge the model before that; the refit itself is not judged."
    )
    versions = [{"table": name, "version": v} for name, v in sorted(inputs.data_versions.items())]
    return _join(
        _facts(facts),
        f"Families compared on validation rows by {_title(inputs.metric)}:\n\n"
        + _table(inputs.families)
        if inputs.families
        else "",
        f"Data versions:\n\n{_table(versions)}" if versions else "",
        refit if inputs.refit else "",
        _picture(inputs, "learning_curve"),
    )


def _performance(inputs: CardInputs) -> str:
    found = inputs.evaluation
    rows = [_metric_row(name, estimate) for name, estimate in found.metrics.items()]
    curves = ("pr", "roc") if next(iter(found.metrics), "") == "pr_auc" else ("roc", "pr")
    pictures = (_picture(inputs, name) for name in (*curves, "predicted"))
    classes = _table(found.classes.to_dicts())
    return _join(found.judged, _rows_judged(found), _table(rows), _costs(found), classes, *pictures)


def _rows_judged(found: Evaluation) -> str:
    """On which rows, and what the answer to one is."""
    if found.constant:
        of, answer = "", "The value itself is the answer."
    elif found.positives is None or found.threshold is None:
        of = f", of {found.classes.height} classes"
        by = "The likeliest class is the answer."
        answer = by if found.costs.is_empty() else "The answer is that of the least expected cost."
    else:
        of = f", {found.positives:,} positive ({found.positives / found.rows:.1%})"
        answer = f"A row is answered positive from a score of {found.threshold:.3g} on."
    if found.judged:
        return f"On {found.rows:,} rows{of}. {answer}"
    return (
        f"On {found.rows:,} test rows{of}, which nothing else used. {answer} Intervals are 95 %, "
        "from resampling rows."
    )


def _costs(found: Evaluation) -> str:
    if found.costs.is_empty():
        return ""
    rows = [
        {
            "answered": row["answered"],
            "cost a row": f"{row['cost']:.4g}",
            "interval": f"{row['low']:.4g} to {row['high']:.4g}",
        }
        for row in found.costs.to_dicts()
    ]
    return f"What answers cost, in the unit of the declared costs:\n\n{_table(rows)}"


def _metric_row(name: str, estimate: Estimate) -> dict[str, object]:
    known = estimate.low is not None and estimate.high is not None
    metric = METRICS[name]
    return {
        "metric": metric.title,
        "value": estimate.words if estimate.value is None else f"{estimate.value:.4f}",
        "interval": f"{estimate.low:.4f} to {estimate.high:.4f}" if known else "",
        "better": "higher" if metric.higher_is_better else "lower",
        "meaning": metric.description,
    }


def _slices(inputs: CardInputs) -> str:
    slices = inputs.evaluation.slices
    if slices.is_empty():
        return ""
    metric = inputs.metric if inputs.metric in slices.columns else MAIN_METRIC[inputs.task]
    names = ["slice", "value", "rows", "positives", metric, f"{metric}_difference"]
    worst = worst_slices(slices, metric, _WORST).select(names)
    worst = worst.select(name for name in names if name != "positives" or inputs.task == "binary")
    unjudged = slices.filter(pl.col(metric).is_null())["rows"].sum()
    words = f"{unjudged:,} rows lie in slices too small to judge." if unjudged else ""
    return _join(f"The worst by {_title(metric)}, worst first:", _table(worst.to_dicts()), words)


def _calibration(inputs: CardInputs) -> str:
    error = inputs.evaluation.metrics.get("calibration_error")
    where = "rows" if inputs.evaluation.judged else "test rows"
    said = f"Calibration error on {where}: {error}." if error is not None else ""
    how = "" if inputs.calibration in ("", "none") else f"Calibrated: {inputs.calibration}."
    return _join(how, said, _picture(inputs, "calibration"))


def _found(found: Mapping[str, Any]) -> str:
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    return _join(_plain(found["words"]), _table(rows))


def _limits(inputs: CardInputs) -> str:
    if inputs.limits is None:
        return "The gate judges after this card is written."
    return _table(inputs.limits.to_dicts()) if inputs.limits.height else "No limit is declared."


def _compression(inputs: CardInputs) -> str:
    return _table([{"measured": k, "value": v} for k, v in inputs.compression.items()])


def _features(inputs: CardInputs) -> str:
    ranked = sorted(inputs.features, key=lambda feature: (-(feature.importance or 0), feature.name))
    rows = [
        {
            "feature": feature.name,
            "importance": "" if feature.importance is None else f"{feature.importance:.1%}",
            "made from": ", ".join(feature.sources),
        }
        for feature in ranked[:_FEATURES]
    ]
    more = len(ranked) - _FEATURES
    words = f"And {more} more." if more > 0 else ""
    return _join(_table(rows), words, _picture(inputs, "importances"))


def _ethics(inputs: CardInputs) -> str:
    personal = ", ".join(inputs.personal) or "none declared"
    sensitive = ", ".join(inputs.sensitive) or "none declared"
    unmeasured = (
        "No column is declared sensitive, so fairness between groups of people was not measured."
    )
    return _join(
        _facts({"Personal data": personal, "Sensitive columns": sensitive}),
        "" if inputs.sensitive else unmeasured,
        *inputs.notes,
        "The model repeats what was common in its training window. It knows nothing of what never "
        "happened there, and a score is a chance, not a cause.",
    )


def _serve(inputs: CardInputs) -> str:
    return (
        f"The bundle of `{inputs.product}` holds this card, the model (ONNX), its features as SQL "
        "and all that they need. It answers over HTTP; its own page `/docs` shows a request to try."
    )


def _picture(inputs: CardInputs, name: str) -> str:
    return inputs.pictures.get(name, "")


def _title(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else metric


def _join(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _facts(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}:** {_plain(value)}" for name, value in facts.items() if value)


def _table(rows: Iterable[Mapping[str, object]]) -> str:
    """A Markdown table of rows with the columns of the first; empty without rows."""
    rows = list(rows)
    if not rows:
        return ""
    names = list(rows[0])
    lines = [names, ["---"] * len(names)]
    lines += [[_plain(row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: object) -> str:
    """A value as text that cannot break the table or the page it stands in."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(text.split())
