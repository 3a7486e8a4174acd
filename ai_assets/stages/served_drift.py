"""served_drift: how far what callers asked lies from what the bundle that answered learned from.

Batch predictions say what the rows of a partition look like; a server may be asked of others, often
of some and never of most. Measured are answers that callers got of the stable bundle: a candidate
got a share of them, and a shadow scored the same rows again.

It is to look at. Callers come and go, and a new one that asks of other rows is no reason to train:
verdict and retraining stand on whole partitions.
"""

from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.drift.numbers import SCHEMA, drift_numbers
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.items import described_names
from ai_assets.lifecycle.schema.scores import SCORED
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import ASKED_AS_LEARNED
from ai_assets.stages.drift import no_drift, scored_columns
from ai_assets.stages.meanings import DRIFT


def measure_served(run: StageRun) -> Outcome:
    """Compare the answers of the partition's main bundle with the reference that it carries."""
    own = [run.partition] if run.partition else None
    answers = run.lake.scan(run.name("served"), own).filter(pl.col("role") == "stable")
    rows = answers.select("bundle", "features", **scored_columns(run.product)).collect()
    bundle = most_answers(rows)
    numbers, finding = pl.DataFrame(schema=SCHEMA), Finding(True, "Nothing was asked of a server.")
    if bundle is not None:
        numbers, finding = measured(run, bundle, rows.filter(pl.col("bundle") == bundle))
    written = run.lake.replace(
        run.name("served_drift"), numbers, run.partition, admit_new_columns=True
    )
    drifted = numbers.filter(pl.col("drifted"))["column"].to_list()
    psi = dict(numbers.filter(pl.col("psi").is_not_null()).select("column", "psi").iter_rows())
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(numbers, written.rows, meanings=DRIFT),
            "numbers": shown.table(numbers.sort("psi", descending=True, nulls_last=True)),
            "answers": rows.filter(pl.col("bundle").eq_missing(bundle)).height,
            "answers_of_other_bundles": rows.filter(pl.col("bundle").ne_missing(bundle)).height,
            "reference": bundle or "none",
            "drifted": ", ".join(drifted) or "none",
            **shown.numbers(psi, prefix="psi/"),
        },
        {ASKED_AS_LEARNED.name: finding},
    )


def measured(run: StageRun, bundle: str, rows: pl.DataFrame) -> tuple[pl.DataFrame, Finding]:
    """The drift of one bundle's answers, and whether there is any."""
    spec = run.product.declaration.drift
    try:
        encoding = run.tools.bundles.load(bundle).encoding
        payload = run.tools.bundles.payload(bundle)
        text = (payload / "reference.json").read_text(encoding="utf-8")
    except BundleError as error:
        words = f"What {bundle} learned from is not known any more. {error}"
        return pl.DataFrame(schema=SCHEMA), Finding(False, words, warn=True)
    numbers = drift_numbers(Profile.from_json(text), features_of(rows, encoding), spec)
    if rows.height < spec.min_rows:
        words = f"Not judged: {rows.height:,} answers, and it takes {spec.min_rows:,} to tell."
        return numbers, Finding(True, words)
    return numbers, no_drift(numbers, released=True)


def most_answers(rows: pl.DataFrame) -> str | None:
    """The bundle that gave most of the answers; of several the one whose tag comes last."""
    counts = rows.group_by("bundle").len().sort("len", "bundle")
    return str(counts["bundle"][-1]) if counts.height else None


def features_of(rows: pl.DataFrame, encoding: Encoding) -> pl.DataFrame:
    """The features [n, F] that answers stand on, and what was answered.

    The log keeps numbers in 32 bits, as the model saw them. Each is read back as the shortest
    decimal that those bits mean: 39.02 would else lie above the edge of a bin that is at 39.02.
    What is told of images and texts was computed again, as exactly as for the reference.
    """
    kinds: dict[str, Any] = {
        column.name: pl.String if column.kind == "categorical" else pl.Float64
        for column in encoding.columns
        if not column.shape
    }
    for column in encoding.items:
        told = described_names(column.kind, column.name, column.shape)
        kinds |= {name: pl.Float64 if number else pl.String for name, number in told.items()}
    seen = rows["features"].str.json_decode(pl.Struct(kinds)).struct.unnest()
    numeric = [column.name for column in encoding.columns if column.kind == "numeric"]
    exact = [_shortest(seen[name]) for name in numeric]
    watched = [rows[name] for name in SCORED if name in rows.columns]
    return seen.with_columns(*exact, *watched)


def _shortest(values: pl.Series) -> pl.Series:
    small = values.to_numpy().astype(np.float32)
    exact = pl.Series(values.name, small.astype(str).astype(np.float64))
    return exact.fill_nan(None)
