"""served, feedback: what the server answered and what callers told it, from its log to the lake.

Both are sources: they join to releases by the bundle's tag, and to rows by id. An edge that led to
either would close a circle.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from ai_assets.lifecycle.cleaning.identity import row_hashes, row_ids
from ai_assets.lifecycle.features.types import TYPES
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.schema.scores import SCORES
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources.spool import Spool
from ai_assets.resources.batches import batches
from ai_assets.resources.lake import WHOLE as UNCUT
from ai_assets.serving.columns import ColumnCheck
from ai_assets.serving.record.answers import Told
from ai_assets.serving.record.decode import Row, features_text, moment, rows_of
from ai_assets.serving.record.feedback import micros
from ai_assets.serving.record.store import Span, Store, log_place, read_store
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.watching import OF_A_RELEASE, ONE_OUTCOME, WHOLE
from ai_assets.stages.meanings import FEEDBACK as FEEDBACK_COLUMNS
from ai_assets.stages.meanings import SERVED as SERVED_COLUMNS
from ai_assets.stages.merged import in_chunks, merged
from ai_assets.stages.retention import OF_AN_OUTCOME, forget_answers, forget_outcomes, oldest_kept

_MOMENT = pl.Datetime("us", "UTC")
SERVED: dict[str, Any] = {
    "_row_id": pl.Int64, "prediction_id": pl.String, "event_time": _MOMENT, "asked_at": _MOMENT,
    "key_id": pl.String, "route": pl.String, "bundle": pl.String, "model": pl.String,
    "role": pl.String, "probability": pl.Float64, "predicted": pl.String, "threshold": pl.Float64,
    "latency_ms": pl.Float64, "request": pl.String, "features": pl.String, "online": pl.String,
}  # fmt: skip
FEEDBACK: dict[str, Any] = {
    "_row_id": pl.Int64, "label": pl.Float64, "event_time": _MOMENT, "known_at": _MOMENT,
    "told_at": _MOMENT, "outcome": pl.String, "prediction_id": pl.String, "entity": pl.String,
    "key_id": pl.String,
}  # fmt: skip


def bring_answers(run: StageRun) -> Outcome:
    """Write the log's answers to rows of the partition, beside those that it holds no more."""
    store, span = _store(run), _span(run)
    name, key = run.name("served"), run.partition or UNCUT
    rows = iter(()) if store is None else rows_of(store.answers(span), store.descriptions(), span)
    declared = run.product.declaration
    classes = len(declared.classes)
    as_frame = partial(served_frame, table=run.product.request_table, classes=classes)
    logged = Spool(pl.Schema({"prediction_id": pl.String}))

    def frames() -> Iterator[pl.DataFrame]:
        for frame in in_chunks(rows, as_frame):
            logged.add(frame.select("prediction_id"))
            yield frame

    stored = run.lake.replacing(name, [key])
    # Ids sort by the time of their request, and within it by row.
    stored.add(key, merged(frames(), _brought(run, "served"), "prediction_id"))
    written = stored.commit()[key]
    brought = _own(run, "served")
    answers = _answers(brought)
    released = run.tools.ledger.history(run.product.name)
    known = {*released["stable"].to_list(), *released["candidate"].drop_nulls().to_list()}
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(brought, written.rows, meanings=SERVED_COLUMNS),
            **_told_of(brought, answers),
            "forgotten_requests": _forgotten(run, "served", store, forget_answers),
        },
        {
            WHOLE.name: whole(
                logged.lazy(), brought.select("prediction_id"), written.rows - logged.rows
            ),
            OF_A_RELEASE.name: of_a_release(
                dict(answers.group_by("bundle").agg(pl.sum("answers")).iter_rows()), known
            ),
        },
    )


def bring_feedback(run: StageRun) -> Outcome:
    """Write the outcomes of rows of the partition."""
    store = _store(run)
    told = iter(()) if store is None else store.outcomes(_span(run))
    logged = pl.concat(in_chunks(told, partial(feedback_frame, product=run.product)))
    left = _left(run, logged)
    both = pl.concat([left, logged]) if left.height else logged
    frame = both.sort("told_at", maintain_order=True) if left.height else logged
    written = run.lake.replace(run.name("feedback"), frame, run.partition)
    last = last_of_each_row(frame)
    binary = run.product.declaration.label.task == "binary"
    positives = last["label"].mean() if binary else None
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(frame, written.rows, meanings=FEEDBACK_COLUMNS),
            "by_id": frame["prediction_id"].count(),
            "rows_told_of": last.height,
            "forgotten_outcomes": _forgotten(run, "feedback", store, forget_outcomes),
            **shown.numbers({"positive_rate": positives} if isinstance(positives, float) else {}),
        },
        {ONE_OUTCOME.name: one_outcome(frame)},
    )


def served_frame(rows: Sequence[Row], table: Table, classes: int = 0) -> pl.DataFrame:
    """A row an answer, in the order they were asked; columns as `SERVED`.

    Of several classes, so many, the probability of each as well.
    """
    content = [
        [
            row.prediction_id,
            None if row.event_us is None else moment(row.event_us),
            moment(row.entry.at_us),
            row.entry.key_id,
            row.entry.route,
            row.entry.bundle,
            row.entry.model,
            row.entry.role,
            row.probability,
            str(row.label),
            None if isinstance(row.label, float) else row.entry.threshold,
            row.entry.latency_ms,
            json.dumps(row.given, ensure_ascii=False),
            features_text(row),
            json.dumps(dict(row.entry.online)),
        ]
        for row in rows
    ]
    schema = {name: kind for name, kind in SERVED.items() if name != "_row_id"}
    frame = pl.DataFrame(content, schema=schema, orient="row")
    keys = [row.key for row in rows]
    frame = frame.insert_column(0, _row_ids(keys, frame["prediction_id"], table))
    if not classes:
        return frame
    # Of a bundle with other classes than are declared now, numbers would be taken for theirs.
    each = [p if (p := row.probabilities) and len(p) == classes else None for row in rows]
    return frame.with_columns(pl.Series(SCORES, each, dtype=pl.List(pl.Float64)))


def feedback_frame(told: Sequence[Told], product: Product) -> pl.DataFrame:
    """A row an outcome, in the order they were sent; columns as `FEEDBACK`."""
    table = product.request_table
    content = [
        [
            product.declaration.number_of(one.outcome),
            None if one.event_us is None else moment(one.event_us),
            moment(one.known_us),
            moment(one.at_us),
            str(one.outcome),
            one.prediction_id,
            one.entity,
            one.key_id,
        ]
        for one in told
    ]
    schema = {name: kind for name, kind in FEEDBACK.items() if name != "_row_id"}
    frame = pl.DataFrame(content, schema=schema, orient="row")
    checks = {name: ColumnCheck(name, table.columns[name], required=True) for name in table.key}
    given = [json.loads(one.entity) for one in told]
    keys = [{n: check(key[n]) for n, check in checks.items()} if key else {} for key in given]
    return frame.insert_column(0, _row_ids(keys, frame["prediction_id"], table))


def last_of_each_row(feedback: pl.DataFrame) -> pl.DataFrame:
    """The outcomes that count: of each row the last that was sent."""
    known = feedback.filter(pl.col("_row_id").is_not_null())
    return known.unique("_row_id", keep="last", maintain_order=True)


def whole(logged: pl.LazyFrame, brought: pl.LazyFrame, left: int = 0) -> Finding:
    """Whether each answer of the log is in the lake, and once.

    Args:
        logged: `prediction_id` of the log's answers.
        brought: the same of the lake's.
        left: how many of the lake's the log holds no more.
    """
    count = pl.len().alias("count")
    of_log, of_lake, lost, once = (
        frame.select(count).collect(engine="streaming").item()
        for frame in (
            logged,
            brought,
            logged.join(brought, on="prediction_id", how="anti"),
            brought.unique("prediction_id"),
        )
    )
    words = f"{of_lake:,} answers in the lake, {of_log:,} in the log"
    words += f" and {left:,} that it holds no more" if left else ""
    if lost or once < of_lake or of_lake != of_log + left:
        twice = of_lake - once
        return Finding(False, f"{words}: {lost:,} are missing, {twice:,} are there twice.")
    return Finding(True, f"{words}.")


def of_a_release(answers: Mapping[str, int], known: set[str]) -> Finding:
    """Whether only bundles answered that were released, or tried beside a release."""
    strange = {tag: count for tag, count in answers.items() if tag not in known}
    if not strange:
        return Finding(True, f"{sum(answers.values()):,} answers, all by bundles of the ledger.")
    words = ", ".join(f"{tag} ({count:,})" for tag, count in sorted(strange.items()))
    return Finding(False, f"Answered without a release: {words}.", warn=True)


def one_outcome(feedback: pl.DataFrame) -> Finding:
    """Whether what was told of a row again is what had been told."""
    known = feedback.filter(pl.col("_row_id").is_not_null())
    outcomes = known.group_by("_row_id").agg(pl.col("outcome").n_unique())
    unsure = outcomes.filter(pl.col("outcome") > 1).height
    words = f"{unsure:,} of {outcomes.height:,} rows were told to have come out in two ways."
    return Finding(not unsure, words, warn=True)


def _answers(brought: pl.LazyFrame) -> pl.DataFrame:
    """How many answers each bundle gave in each role: `bundle`, `role`, `answers`, `share`."""
    counts = brought.group_by("bundle", "role").agg(answers=pl.len()).collect(engine="streaming")
    share = pl.col("answers") / max(counts["answers"].sum(), 1)
    return counts.with_columns(share=share).sort("answers", "bundle", descending=[True, False])


def _told_of(brought: pl.LazyFrame, answers: pl.DataFrame) -> dict[str, Any]:
    # Nobody waits for a shadow, and nobody gets its answers.
    given = brought.filter(pl.col("role") != "shadow")
    quantiles = {q: pl.col("latency_ms").quantile(q / 100).alias(f"p{q}") for q in (50, 90, 99)}
    asked = pl.col("key_id").n_unique().alias("callers")
    found = given.select(asked, *quantiles.values()).collect(engine="streaming").row(0, named=True)
    latency = {f"latency_ms/p{q}": found[f"p{q}"] for q in quantiles}
    return {
        "by_bundle": shown.table(answers),
        "callers": found["callers"],
        **shown.numbers({name: value for name, value in latency.items() if value is not None}),
    }


def _row_ids(keys: Sequence[Mapping[str, Any]], predictions: pl.Series, table: Table) -> pl.Series:
    """The rows' ids, as in the cleaned table; null where there is no key.

    Rows of a table without a key are none of its own: each prediction is of a row of its own, which
    outcomes find by the prediction's id.
    """
    if not table.key:
        ids = row_ids(row_hashes(predictions.to_frame(), [predictions.name]))
        return pl.select(pl.when(predictions.is_not_null()).then(ids)).to_series().alias("_row_id")
    types = {name: TYPES[table.columns[name].type] for name in table.key}
    frame = pl.DataFrame([[key.get(n) for n in types] for key in keys], schema=types, orient="row")
    ids = row_ids(row_hashes(frame, list(table.key)))
    there = pl.Series([bool(key) for key in keys], dtype=pl.Boolean)
    return pl.select(pl.when(there).then(ids)).to_series().alias("_row_id")


def _own(run: StageRun, stage: str) -> pl.LazyFrame:
    """The partition as the lake has it."""
    return run.lake.scan(run.name(stage), [run.partition] if run.partition else None)


def _brought(run: StageRun, stage: str) -> Iterator[pl.DataFrame]:
    """What the lake has of the partition before this run, a batch at a time, in its order."""
    if run.lake.exists(run.name(stage), run.partition):
        yield from batches(_own(run, stage))


def _left(run: StageRun, logged: pl.DataFrame) -> pl.DataFrame:
    """The outcomes that the lake has of the partition and the log holds no more.

    A log forgets what is old, or another has taken its place; the lake keeps what it has.
    """
    if not run.lake.exists(run.name("feedback"), run.partition):
        return logged.head(0)
    own, known = _own(run, "feedback"), logged.lazy().select(OF_AN_OUTCOME)
    left = own.join(known, on=OF_AN_OUTCOME, how="anti", nulls_equal=True)
    # What was brought before there was a column has nothing in it.
    return pl.concat([logged.head(0), left.collect()], how="diagonal").select(logged.columns)


def _forgotten(
    run: StageRun,
    stage: str,
    store: Store | None,
    forget: Callable[[Store, pl.LazyFrame, int], int],
) -> int:
    """Delete what is older than the setting says and in the lake, of any partition."""
    before = oldest_kept()
    if store is None or before is None:
        return 0
    return forget(store, run.lake.scan(run.name(stage)), before)


def _store(run: StageRun) -> Store | None:
    return read_store(log_place(run.product.name, os.environ.get("AI_ASSETS_LOG", "")))


def _span(run: StageRun) -> Span:
    return (None, None) if run.span is None else (micros(run.span.start), micros(run.span.end))
