"""drift: how far a partition's features and scores lie from what the release learned from.
drift_report: the page that people read; nothing waits for it."""

from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.drift.numbers import SCHEMA, JointDrift, drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.drift.report import drift_report_html
from ai_assets.lifecycle.evaluation import plots
from ai_assets.lifecycle.features.items import described, items_of
from ai_assets.lifecycle.features.reserved import ROW_COLUMNS
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.scores import SCORE, SCORED
from ai_assets.serving.bundle import Bundle
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import NO_DRIFT
from ai_assets.stages.embedding import embedding_line
from ai_assets.stages.learnable import not_learned
from ai_assets.stages.meanings import DRIFT
from ai_assets.stages.predictions import features_for, release_at_start
from ai_assets.stages.surprise import with_surprise
from ai_assets.stages.training_data import save_folder


def measure_drift(run: StageRun) -> Outcome:
    """Compare the partition with the reference in the bundle that scored it."""
    entry = release_at_start(run)
    finding: Finding | None = None
    if entry is None:
        numbers, joint = pl.DataFrame(schema=SCHEMA), None
    else:
        bundle = run.tools.bundles.load(entry.stable)
        reference = Profile.from_json(
            (run.tools.bundles.payload(entry.stable) / "reference.json").read_text(encoding="utf-8")
        )
        rows = not_learned(run, entry.stable, scored_features(run, bundle))
        spec = run.product.declaration.drift
        numbers, joint = drift_numbers(reference, rows, spec), joint_drift(reference, rows, spec)
        numbers = numbers.vstack(line_of_embeddings(run, bundle))
        if rows.height < spec.min_rows:
            finding = not_judged(run.product, rows.height, spec.min_rows)
    written = run.lake.replace(run.name("drift"), numbers, run.partition, admit_new_columns=True)
    drifted = numbers.filter(pl.col("drifted"))["column"].to_list()
    psi = dict(numbers.filter(pl.col("psi").is_not_null()).select("column", "psi").iter_rows())
    picture = plots.drift(numbers, run.product.declaration.drift.psi) if numbers.height else b""
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(numbers, written.rows, meanings=DRIFT),
            "numbers": shown.table(numbers.sort("psi", descending=True, nulls_last=True)),
            "drifted": ", ".join(drifted) or "none",
            "drifted_columns": len(drifted),
            "reference": entry.stable if entry else "none",
            **(
                {"picture": shown.markdown(plots.as_markdown_image(picture, "drift"))}
                if picture
                else {}
            ),
            **shown.numbers(psi, prefix="psi/"),
            **together(joint),
        },
        {NO_DRIFT.name: finding or no_drift(numbers, entry is not None, joint)},
    )


def line_of_embeddings(run: StageRun, bundle: Bundle) -> pl.DataFrame:
    """The row about what the bundle's model makes of images and texts; none of other products."""
    columns = run.product.request_table.columns
    if not items_of(columns):
        return pl.DataFrame(schema=SCHEMA)
    payload = run.tools.bundles.payload(bundle.tag)
    features = not_learned(run, bundle.tag, features_for(run, bundle))
    return embedding_line(
        payload, bundle.encoding, features, columns, run.product.declaration.drift
    )


def scored_features(run: StageRun, bundle: Bundle) -> pl.DataFrame:
    """The partition's features with what was answered, as `scored_columns` names it."""
    own = [run.partition] if run.partition else None
    scores = run.lake.scan(run.name("predictions"), own).select(
        "_row_id", **scored_columns(run.product)
    )
    payload = run.tools.bundles.payload(bundle.tag)
    seen = with_surprise(payload, bundle.encoding, features_for(run, bundle))
    features = described(seen, run.product.request_table.columns)
    return features.join(scores.collect(), on="_row_id", how="left")


def scored_columns(product: Product) -> dict[str, pl.Expr]:
    """What is watched of the answers: the score, and of several classes which one was answered."""
    several = bool(product.declaration.classes)
    watched = dict(zip(SCORED, (pl.col(SCORE), pl.col("predicted")), strict=True))
    return watched if several else {SCORED[0]: watched[SCORED[0]]}


def together(joint: JointDrift | None) -> dict[str, Any]:
    """What the asset's page says of the features together."""
    if joint is None or joint.ratio is None:
        return {"together": joint.words if joint else "none"}
    words = (
        f"Rows lie {joint.ratio:.2f} times as far off as the reference's: {joint.error:.3f}, where "
        f"95 % of its blocks lie from {joint.low:.3f} to {joint.high:.3f}. {joint.words}"
    )
    return {"together": words.strip(), "together/ratio": joint.ratio}


def not_judged(product: Product, rows: int, least: int) -> Finding:
    """What is said of too few rows."""
    new = "" if product.partitions is not None else " that the bundle had not learned from"
    return Finding(True, f"Not judged: {rows:,} rows{new}, and it takes {least:,} to tell.")


def no_drift(numbers: pl.DataFrame, released: bool, joint: JointDrift | None = None) -> Finding:
    """Whether all is as it was learned; names the columns that are not, the furthest first."""
    if not released:
        return Finding(False, "Nothing was in production, so there is no reference.", warn=True)
    drifted = numbers.filter(pl.col("drifted")).sort("psi", descending=True, nulls_last=True)
    words = [
        f"{name} (PSI {psi:.2f})" if psi is not None else f"{name} ({why})"
        for name, psi, why in drifted.select("column", "psi", "words").iter_rows()
    ]
    said = f"{len(words)} of {numbers.height} columns drifted: {', '.join(words)}."
    if not words:
        said = f"None of {numbers.height} columns has drifted."
    if joint is not None and joint.drifted:
        names = f": {', '.join(joint.columns)}" if joint.columns else ""
        said += f" Features no longer go together as learned (ratio {joint.ratio:.2f}){names}."
        return Finding(False, said, warn=True)
    return Finding(not words, said, warn=bool(words))


def draw_report(run: StageRun) -> Outcome:
    """Draw the report on a sample of the partition and of what its release was trained on."""
    entry = release_at_start(run)
    if entry is None:
        version = save_folder(run, "drift_report", _no_report)
        return Outcome(version, {"report": "Nothing was in production, so there is no reference."})
    bundle = run.tools.bundles.load(entry.stable)
    spec = run.product.declaration.drift
    trained_on = [bundle.partition] if bundle.partition else None
    reference = run.lake.scan(run.name("training_set"), trained_on).collect()
    reference = _sample(reference.drop(ROW_COLUMNS, strict=False), spec.sample, spec.seed)
    reference = described(reference, run.product.request_table.columns)
    current = scored_features(run, bundle).drop("_row_id", *SCORED, strict=False)
    current = _sample(current, spec.sample, spec.seed)
    said: list[str] = []

    def write(folder: Path) -> None:
        said.append(str(drift_report_html(reference, current, folder / "report.html") or ""))

    version = save_folder(run, "drift_report", write)
    path = run.lake.artifact(run.name("drift_report"), run.partition) / "report.html"
    return Outcome(
        version,
        {
            "report": shown.path(path),
            "rows": f"{current.height:,} of this partition, {reference.height:,} of training",
            **({"left_out": said[0]} if said[0] else {}),
        },
    )


def _no_report(folder: Path) -> None:
    text = "<!doctype html><title>No drift report</title><p>Nothing was in production.</p>\n"
    (folder / "report.html").write_text(text, encoding="utf-8")


def _sample(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    return rows.sample(most, seed=seed) if rows.height > most else rows
