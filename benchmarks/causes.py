"""Is the cause of drift named right? Injections into held-out rows of the reference month.

March 2013 is split at random into two worlds of half the flights and half the observations of the
weather, a split a seed. From one the reference is made: sketches of its cleaned tables, profiles of
its features, a model with calibrated scores. The other is held out. Its raw rows are changed in
each of 13 named ways and go through cleaning, features and scoring as any partition does; then a
verdict is made with labels at hand. Held-out halves that nothing was done to are the controls.

The same is done to June and September, where real drift lies underneath: that is reported without
goals. Of concept shifts only the outcome is changed: features are those of the rows as they were.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from figures import Figure, report
from flights import product

from ai_assets.lifecycle.cleaning import CleaningCounts, check_columns, clean
from ai_assets.lifecycle.drift.numbers import drift_numbers, joint_drift
from ai_assets.lifecycle.drift.profile import Profile, profile
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.injection import INJECTIONS, code_after, inject
from ai_assets.lifecycle.labels import label_rows
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.partitions import Span
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.sources import read_source
from ai_assets.lifecycle.training.calibration import fit_calibration
from ai_assets.lifecycle.training.fitting import fit_model
from ai_assets.lifecycle.verdict.broken import Observed
from ai_assets.lifecycle.verdict.concept import Calibrated, Labelled, calibrated
from ai_assets.lifecycle.verdict.decide import Signals, decide_cause
from ai_assets.lifecycle.verdict.evidence import CAUSES, Verdict
from ai_assets.lifecycle.verdict.sketch import TableSketch, table_sketch

REFERENCE, LATER = "2013-03-01", ("2013-06-01", "2013-09-01")
SEEDS, CONTROLS = range(3), range(6)
GOAL = 0.75
CODE = {"cleaned/flights": "a", "cleaned/weather": "b", "features": "c"}
NOT_FEATURES = ("_row_id", "label", "event_time", "known_at")
Raw = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Halves:
    """One world of half the rows: the partition's raw rows, and those just before it."""

    now: Raw
    before: Raw


@dataclass(frozen=True)
class Made:
    """What a partition's raw rows became."""

    tables: Raw
    counts: dict[str, CleaningCounts]
    problems: dict[str, list[str]]


@dataclass(frozen=True)
class Reference:
    """What a bundle would hold."""

    sketches: dict[str, TableSketch]
    features: Profile
    model: Model
    calibration: Calibration
    encoding: Encoding
    usual: Calibrated


@lru_cache(maxsize=8)
def raw_rows(month: str) -> tuple[Raw, Raw]:
    """Raw rows of the month and of the lookback before it, as the sources give them."""
    flights = product()
    assert flights.partitions is not None
    span = flights.partitions.span(month)
    lookback = Span(span.start - flights.declaration.lookback, span.start)
    return _read(span), _read(lookback)


def _read(span: Span) -> Raw:
    flights = product()
    return {
        name: read_source(
            table.source, span if table.time else None, table=table, folder=flights.folder
        ).collect()
        for name, table in flights.declaration.tables.items()
    }


def halves(month: str, seed: int) -> tuple[Halves, Halves]:
    """The month's rows as two worlds; lookups belong to both."""
    now, before = raw_rows(month)
    random = np.random.default_rng([seed, int(month[5:7])])
    sides: tuple[list[Raw], list[Raw]] = ([], [])
    for rows in (now, before):
        split: tuple[Raw, Raw] = ({}, {})
        for name, frame in rows.items():
            first = pl.Series(random.random(frame.height) < 0.5)
            timed = product().declaration.tables[name].time is not None
            split[0][name] = frame.filter(first) if timed else frame
            split[1][name] = frame.filter(~first) if timed else frame
        for side, part in zip(sides, split, strict=True):
            side.append(part)
    return Halves(*sides[0]), Halves(*sides[1])


def make(raw: Raw) -> Made:
    """Hold every table to its contract."""
    tables: Raw = {}
    counts: dict[str, CleaningCounts] = {}
    problems: dict[str, list[str]] = {}
    for name, table in product().declaration.tables.items():
        try:
            check_columns(raw[name].lazy(), table, name)
        except DataError as error:
            problems[name] = str(error).splitlines()[:1]
            continue
        cleaned = clean(raw[name].lazy(), table)
        tables[name], counts[name] = cleaned.good.collect(), cleaned.counts
    return Made(tables, counts, problems)


def features_of(now: Made, before: Made) -> pl.DataFrame:
    """The features of the partition's requests."""
    declared = product().declaration
    tables = {
        name: pl.concat([before.tables[name], frame]) if declared.tables[name].time else frame
        for name, frame in now.tables.items()
    }
    return run_features(
        product().features_sql,
        now.tables[declared.request],
        tables,
        specs=declared.tables,
        request_table=declared.request,
        horizon=declared.horizon,
        memory_limit="2GB",
    )


def labels_of(made: Made) -> pl.DataFrame:
    declared = product().declaration
    time_column = declared.tables[declared.request].time
    return label_rows(
        made.tables[declared.request], declared.label.sql, time_column, declared.label.arrives_after
    )


def learn(side: Halves) -> Reference:
    """The reference of one half: sketches, profiles, a model and its calibration."""
    made, before = make(side.now), make(side.before)
    features = features_of(made, before)
    rows = features.join(labels_of(made).drop_nulls("label"), on="_row_id")
    random = np.random.default_rng(0).random(rows.height)
    train, validation, held = random < 0.6, (random >= 0.6) & (random < 0.75), random >= 0.75
    encoding = Encoding.fit(rows.filter(pl.Series(train)).drop(NOT_FEATURES))
    data = Dataset(encoding.transform(rows), rows["label"].to_numpy(), None, encoding)
    training = product().declaration.training
    model = fit_model(
        "lightgbm", data.take(train), data.take(validation),
        {"learning_rate": 0.08}, training=training, task="binary",
    )  # fmt: skip
    scores = model.predict(data.x)[:, 0]
    # Calibrated on rows that neither fitted nor stopped the model, then profiled on the same.
    calibration = fit_calibration("sigmoid", scores[held], data.y[held])
    score = calibration.apply(scores[held])
    usual = calibrated(Labelled(data.y[held], score, pl.DataFrame()))
    shown = profile(features.drop("_row_id"))
    scored = profile(pl.DataFrame({"prediction": score}))
    sketches = {
        name: table_sketch(
            frame,
            product().declaration.tables[name],
            timezone=zone(),
            rejected=made.counts[name].rejected / max(made.counts[name].raw, 1),
            duplicates=made.counts[name].duplicates / max(made.counts[name].raw, 1),
        )
        for name, frame in made.tables.items()
    }
    # Through JSON, as a bundle would carry it.
    sketches = {name: TableSketch.from_json(s.to_json()) for name, s in sketches.items()}
    return Reference(sketches, shown.with_columns(scored), model, calibration, encoding, usual)


def zone() -> str:
    partitions = product().partitions
    return partitions.timezone if partitions else "UTC"


def judge(reference: Reference, month: str, side: Halves, name: str | None, seed: int) -> Verdict:
    """The verdict on a half of a month after an injection, or after none."""
    declared = product().declaration
    raw = inject(name, side.now, declared, seed) if name else side.now
    made = make(raw)
    partitions = product().partitions
    assert partitions is not None
    span = partitions.span(month)
    observed = {
        table: Observed(
            declared.tables[table],
            reference.sketches[table],
            made.tables.get(table),
            made.counts.get(table),
            made.problems.get(table, []),
            (span.start, span.end) if declared.tables[table].time else None,
        )
        for table in declared.tables
    }
    numbers = joint = labelled = None
    if not made.problems:
        outcome_only = name is not None and INJECTIONS[name].changes_outcome
        inputs = make(side.now) if outcome_only else made
        features = features_of(inputs, make(side.before))
        scores = reference.calibration.apply(
            reference.model.predict(reference.encoding.transform(features))[:, 0]
        )
        scored = features.with_columns(prediction=scores)
        numbers = drift_numbers(reference.features, scored, declared.drift)
        joint = joint_drift(reference.features, features, declared.drift)
        rows = scored.join(labels_of(made), on="_row_id")
        labelled = Labelled(
            rows["label"].fill_null(float("nan")).to_numpy(),
            rows["prediction"].to_numpy(),
            rows.select(reference.encoding.names),
            rows["event_time"].dt.convert_time_zone(zone()).dt.date().to_numpy(),
        )
    signals = Signals(
        tables=observed,
        request=declared.request,
        features=numbers,
        joint=joint,
        code_then=CODE,
        code_now=code_after(name, CODE) if name else CODE,
        importances=reference.model.importances(),
        labelled=labelled,
        calibrated=reference.usual,
        timezone=zone(),
    )
    return decide_cause("flight_delay", month, "reference", signals, drift=declared.drift)


def judged(month: str) -> list[tuple[str, str, Verdict]]:
    """(injection, true cause, verdict) of every injection and seed, and of the controls."""
    found = []
    for seed in CONTROLS:
        first, _ = halves(REFERENCE, seed)
        reference = learn(first)
        _, held = halves(month, seed)
        cases = [("control", "none"), *((i.name, str(i.cause)) for i in INJECTIONS.values())]
        for name, cause in cases if seed in SEEDS else cases[:1]:
            begun = time.perf_counter()
            verdict = judge(reference, month, held, None if name == "control" else name, seed)
            took = time.perf_counter() - begun
            mark = "  " if verdict.cause == cause else "✗ "
            print(
                f"{mark}{month[:7]} {seed} {name:26} {verdict.cause:15} {verdict.severity:.2f} "
                f"{took:4.1f} s  {verdict.words}", flush=True,
            )  # fmt: skip
            found.append((name, cause, verdict))
    return found


def confusion(found: list[tuple[str, str, Verdict]]) -> str:
    """True causes down, named causes across."""
    counts = Counter((cause, verdict.cause) for _, cause, verdict in found)
    lines = ["".ljust(17) + "".join(c.rjust(17) for c in CAUSES)]
    lines += [c.ljust(17) + "".join(str(counts[c, n]).rjust(17) for n in CAUSES) for c in CAUSES]
    return "\n".join(lines)


def figures(found: list[tuple[str, str, Verdict]]) -> list[Figure]:
    """The goals, measured."""
    made = []
    for cause in CAUSES[1:]:
        own = [v.cause == cause for _, c, v in found if c == cause]
        goal = 1.0 if cause == "broken_data" else GOAL
        share = float(np.mean(own))
        words = "all" if cause == "broken_data" else f"≥ {GOAL}"
        made.append(
            Figure(
                f"named right: {cause}", f"{sum(own)} of {len(own)}", "", None, words, share >= goal
            )
        )
    # A retraining follows drift of inputs or of the concept, never broken data or changed code.
    asked = ("covariate_drift", "concept_drift")
    again = sum(v.cause in asked for _, c, v in found if c == "broken_data")
    false = sum(v.cause != "none" for _, c, v in found if c == "none")
    made.append(Figure("retrainings on broken data", str(again), "", None, "0", again == 0))
    made.append(Figure("false alarms of 6 controls", str(false), "", None, "≤ 1", false <= 1))
    return made


def broken_controls(found: list[tuple[str, str, Verdict]]) -> Figure:
    """In later months real drift is no false alarm, but calling sound data broken is one."""
    called = sum(v.cause == "broken_data" for _, c, v in found if c == "none")
    return Figure("controls called broken", f"{called} of 6", "", None, "reported", True)


def main() -> int:
    months = sys.argv[1:] or [REFERENCE, *LATER]
    found = {month: judged(month) for month in months}
    for month, cases in found.items():
        print(f"\n{month[:7]}: true cause down, named cause across\n{confusion(cases)}")
    print()
    if REFERENCE not in found:
        return 0
    later = [
        Figure(f"{month[:7]}, {f.name}", f.ours, "", None, "reported", True)
        for month, cases in found.items()
        if month != REFERENCE
        for f in [*figures(cases)[:-1], broken_controls(cases)]
    ]
    return report([*figures(found[REFERENCE]), *later])


if __name__ == "__main__":
    sys.exit(main())
