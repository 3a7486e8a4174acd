"""predictions: each request row scored by what was in production when its partition began."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.scores import SCORE, SCORES, series_of
from ai_assets.resources.ledger import Entry
from ai_assets.serving.bundle import Bundle
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.releasing import IN_PRODUCTION
from ai_assets.stages.evaluation import answers_as_declared, scores_of
from ai_assets.stages.features import request_and_history
from ai_assets.stages.meanings import PREDICTIONS

_MEANS = {
    "binary": "mean_probability",
    "multiclass": "mean_probability",
    "regression": "mean_prediction",
}


def score_partition(run: StageRun) -> Outcome:
    """Score the partition's features with the bundle that the ledger names at its start."""
    entry = release_at_start(run)
    if entry is None:
        frame = pl.DataFrame(schema=schema_of(run.product))
    else:
        bundle = run.tools.bundles.load(entry.stable)
        frame = _score(run.product, bundle, features_for(run, bundle), entry)
    written = run.lake.replace(run.name("predictions"), frame, run.partition)
    mean, mean_of = frame[SCORE].mean(), _MEANS[run.product.declaration.label.task]
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(frame, written.rows, meanings=PREDICTIONS),
            "bundle": entry.stable if entry else "none",
            "release": entry.release_id if entry else "none",
            **shown.numbers({mean_of: mean} if isinstance(mean, float) else {}),
        },
        {IN_PRODUCTION.name: in_production(entry, run.partition)},
    )


def release_at_start(run: StageRun) -> Entry | None:
    """What the ledger names at the start of the partition."""
    moment = run.span.start if run.span else datetime.now(UTC)
    return run.tools.ledger.as_of(run.product.name, moment)


def features_for(run: StageRun, bundle: Bundle) -> pl.DataFrame:
    """The partition's features as the bundle's own SQL makes them.

    The table of features serves while the query is still the bundle's; else they are computed anew.
    """
    product = run.product
    if bundle.features_sql == product.features_sql:
        own = [run.partition] if run.partition else None
        return run.lake.scan(run.name("features"), own).collect()
    run.say("The bundle has another feature query than the product has now; running the bundle's.")
    request, tables = request_and_history(run)
    return run_features(
        bundle.features_sql,
        request,
        tables,
        specs=product.declaration.tables,
        request_table=product.declaration.request,
        horizon=product.declaration.horizon,
    )


def schema_of(product: Product) -> dict[str, Any]:
    """The columns of predictions: of several classes all probabilities, in the classes' order."""
    return {
        "_row_id": pl.Int64,
        SCORE: pl.Float64,
        **({SCORES: pl.List(pl.Float64)} if product.declaration.classes else {}),
        "predicted": pl.String,
        "release_id": pl.String,
        "bundle": pl.String,
    }


def _score(product: Product, bundle: Bundle, features: pl.DataFrame, entry: Entry) -> pl.DataFrame:
    scores = scores_of(bundle, features)
    columns = {
        "_row_id": features["_row_id"],
        SCORE: bundle.decision.confidence(scores),
        # Scores of other classes than are declared now would be taken for those.
        SCORES: series_of(SCORES, scores) if answers_as_declared(product, bundle) else None,
        "predicted": [str(answer) for answer in bundle.decision.answers(scores)],
        "release_id": [entry.release_id] * features.height,
        "bundle": [entry.stable] * features.height,
    }
    schema = schema_of(product)
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema)


def in_production(entry: Entry | None, partition: str | None) -> Finding:
    """Whether there was anything to score with."""
    when = f" at the start of {partition}" if partition else ""
    if entry is None:
        return Finding(False, f"Nothing was in production{when}; no row was scored.", warn=True)
    return Finding(True, f"Scored by {entry.stable}, in production{when}.")
