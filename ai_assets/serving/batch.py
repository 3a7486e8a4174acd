"""`python -m ai_assets.serving.batch --bundle DIR IN.parquet OUT.parquet`: score a file of rows.

Rows are checked and scored as `/predict` does it. A row that cannot be scored goes to a second file
with the reason; none is lost.
"""

import argparse
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ai_assets.lifecycle.errors import BundleError, DataError, UserError
from ai_assets.lifecycle.schema.notation import DECIMALS, THOUSANDS, CsvForm, Notation
from ai_assets.lifecycle.schema.usual_form import as_callers_write
from ai_assets.serving.batch_files import ENDS, LINE, REASON, ROW, Input, Output, Piece
from ai_assets.serving.frames import ColumnReader
from ai_assets.serving.place import find_bundle
from ai_assets.serving.problems import Refused, told
from ai_assets.serving.settings import Settings
from ai_assets.serving.start import Loaded, Start

if TYPE_CHECKING:
    from ai_assets.serving.engine import Scored

_CHUNK = 50_000
# Each search for the rows that a query fails on costs some queries.
_MOST_FAILURES = 1000
_SHOW_EVERY_S = 5.0


class Batch:
    """Scores the pieces of a file.

    Args:
        loaded: what answers.
        given: the file.
    """

    def __init__(self, loaded: Loaded, given: Input) -> None:
        self._loaded = loaded
        self._columns = ColumnReader(loaded.reader, from_text=not given.of_parquet)
        declared = loaded.reader.table
        self._form = None if given.of_parquet else given.form
        self._types = {name: column.type for name, column in declared.columns.items()}
        self._known = [name for name in given.columns if name in declared.columns]
        self.left_out = [name for name in given.columns if name not in declared.columns]
        self._kept = declared.key or list(declared.columns)
        self._failures = 0
        lacks = [
            loaded.reader.missing(name, given.columns).hinted().message
            for name, check in loaded.reader.checks.items()
            if check.required and name not in given.columns
        ]
        if lacks:
            raise DataError(f"{given.path.name}: {' '.join(lacks)}")

    def score(self, piece: Piece) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The answers to a piece's good rows, and the rows that are not, each with its reason.

        Raises:
            Refused: nothing can be scored now.
            DataError: the feature query fails on very many rows.
        """
        rows = piece.rows
        usual = self._usual(rows)
        columns = {name: usual[name] for name in self._known}
        checked = self._columns.check(columns, rows.height)
        reasons: dict[int, list[str]] = defaultdict(list)
        for detail in checked.problems:
            reasons[detail.row or 0].append(detail.hinted().message)
        good = [at for at in range(rows.height) if at not in reasons] if reasons else None
        frame = checked.frame.with_columns(rows[ROW])
        answers = self._answers(frame if good is None else frame[good], rows[ROW], reasons)
        return answers, self._rejected(piece, reasons)

    def _usual(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows as callers of the server write them."""
        if self._form is None:
            return rows
        return as_callers_write(rows.lazy(), self._form, self._types).collect()

    def _answers(
        self, frame: pl.DataFrame, numbers: pl.Series, reasons: dict[int, list[str]]
    ) -> pl.DataFrame:
        """The answers to rows; of those that the query fails on, the reasons are noted."""
        if not frame.height:
            return self._table(frame, None)
        try:
            (scored,) = self._loaded.engine.score([frame.drop(ROW)])
            return self._table(frame, scored)
        except Refused as refused:
            if refused.status != 400:
                raise
            self._failures += 1
            if self._failures > _MOST_FAILURES:
                raise DataError(f"Very many rows cannot be scored: {told(refused)}") from refused
            if frame.height == 1:
                at = int((numbers == frame[ROW][0]).arg_max() or 0)
                reasons[at].append(told(refused))
                return self._table(frame.clear(), None)
        half = frame.height // 2
        parts = (frame[:half], frame[half:])
        return pl.concat([self._answers(part, numbers, reasons) for part in parts])

    def _table(self, frame: pl.DataFrame, scored: "Scored | None") -> pl.DataFrame:
        """What is written of rows: their number, their key, and the answers."""
        decision = self._loaded.bundle.decision
        label = pl.Float64() if decision.task == "regression" else pl.String()
        answers = [
            pl.Series("prediction_id", scored.ids if scored else [], pl.String),
            pl.Series("probability", scored.probability if scored else [], pl.Float64),
            pl.Series("label", scored.label if scored else [], label),
            *self._last(frame.height, scored),
        ]
        names = names_beside({ROW, *(one.name for one in answers)}, self._kept)
        kept = [frame[name].alias(told) for name, told in zip(self._kept, names, strict=True)]
        return pl.DataFrame([frame[ROW], *kept, *answers])

    def _last(self, height: int, scored: "Scored | None") -> list[pl.Series]:
        """The threshold; of a value the ends of its interval, where there is one; of several
        classes the probability of each, in a column of its own."""
        decision = self._loaded.bundle.decision
        if decision.task == "binary":
            threshold = pl.Series("threshold", [decision.threshold], pl.Float64)
            return [threshold.new_from_index(0, height)]
        names: tuple[str, ...]
        if decision.task == "regression":
            names = ENDS if decision.interval is not None else ()
            each = None if scored is None else scored.interval
        else:
            names = tuple(f"probability_{name}" for name in decision.classes)
            each = None if scored is None else scored.probabilities
        return [
            pl.Series(name, [] if each is None else each[:, at], pl.Float64)
            for at, name in enumerate(names)
        ]

    def _rejected(self, piece: Piece, reasons: dict[int, list[str]]) -> pl.DataFrame:
        at = sorted(reasons)
        words = pl.Series(REASON, [" ".join(reasons[row]) for row in at], pl.String)
        rows = piece.rows[at].insert_column(1, words)
        rows = rows.insert_column(2, pl.Series(LINE, [None] * len(at), pl.String))
        return pl.concat([rows, piece.broken], how="diagonal")


def names_beside(answers: set[str], given: list[str]) -> list[str]:
    """The names of given columns beside the answers: no two are the same.

    One that is called as an answer gets `_given` behind its name, until nothing else is called so.
    """
    taken, told = {*answers, *given}, []
    for name in given:
        other = name
        while name in answers and other in taken:
            other += "_given"
        taken.add(other)
        told.append(other)
    return told


class Progress:
    """Tells on stderr how far a file is."""

    def __init__(self, height: int | None) -> None:
        self._height = height
        self._began = time.monotonic()
        self._shown = self._began
        self._live = sys.stderr.isatty()

    def show(self, scored: int, rejected: int, *, last: bool = False) -> None:
        """Say how many rows are done."""
        now = time.monotonic()
        if not (self._live or last or now - self._shown >= _SHOW_EVERY_S):
            return
        self._shown, done = now, scored + rejected
        of = f" of {self._height:,}" if self._height is not None else ""
        speed = done / max(now - self._began, 1e-6)
        words = f"{done:,}{of} rows: {scored:,} scored, {rejected:,} rejected, {speed:,.0f} rows/s"
        start, end = ("\r", "\n" if last else "") if self._live else ("", "\n")
        print(f"{start}{words}", end=end, file=sys.stderr, flush=True)


def score_file(
    bundle: Path,
    source: Path,
    target: Path,
    rejected: Path,
    chunk: int,
    settings: Settings | None = None,
    form: CsvForm | None = None,
) -> None:
    """Score a file into another; what cannot be scored goes into a third.

    Args:
        bundle: folder of a signed bundle.
        source: the file.
        target: where answers go.
        rejected: where bad rows go, as they were written.
        chunk: rows scored together.
        settings: of serving; default: the environment's.
        form: how a CSV is written; default: with commas, points, ISO dates, in UTF-8.

    Raises:
        UserError: the bundle, the file or its columns cannot be used; says why.
        Refused: the tables that answers need cannot be read.
    """
    if len({path.absolute() for path in (source, target, rejected)}) < 3:
        raise DataError("The input and both outputs must be different files.")
    for path in (target, rejected):
        if path.suffix != ".parquet":
            raise DataError(f"The output must be a .parquet file, but got '{path.name}'.")
    given = Input(source, chunk, form or CsvForm())
    settings = settings or Settings.from_environment()
    # The output is the record of a batch.
    loaded = Start(bundle, replace(settings, log_mode="off")).wait()
    batch = Batch(loaded, given)
    if batch.left_out:
        print(f"Not read: {', '.join(batch.left_out)}", file=sys.stderr)
    loaded.engine.check()
    answers, refused, progress = Output(target), Output(rejected), Progress(given.height)
    try:
        for piece in given.pieces():
            good, bad = batch.score(piece)
            answers.write(good)
            if bad.height:
                refused.write(bad)
            progress.show(answers.rows, refused.rows)
        if not answers.rows + refused.rows:
            raise DataError(f"{source.name} has no rows.")
        answers.finish()
        refused.finish()
    except BaseException:
        answers.give_up()
        refused.give_up()
        raise
    progress.show(answers.rows, refused.rows, last=True)
    if refused.rows:
        print(f"Rejected rows, with reasons: {rejected}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Score a file. Returns 1, with one sentence, where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.serving.batch", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="rows, as .parquet or .csv")
    parser.add_argument("target", type=Path, metavar="OUT.parquet", help="where answers go")
    parser.add_argument("--bundle", type=Path, help="folder of a signed bundle")
    parser.add_argument(
        "--rejected", type=Path, help="where bad rows go; default: OUT.rejected.parquet"
    )
    parser.add_argument("--chunk-rows", type=int, default=_CHUNK, help="rows scored together")
    _add_form(parser)
    given = parser.parse_args(arguments)
    try:
        if given.chunk_rows < 1:
            raise BundleError("--chunk-rows must be at least 1.")
        rejected = given.rejected or given.target.with_suffix(".rejected.parquet")
        bundle = given.bundle or find_bundle()
        score_file(
            bundle, given.source, given.target, rejected, given.chunk_rows, form=_form_of(given)
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except Refused as refused:
        print(told(refused), file=sys.stderr)
        return 1
    return 0


def _add_form(parser: argparse.ArgumentParser) -> None:
    csv = parser.add_argument_group("how a CSV is written")
    csv.add_argument("--delimiter", default=",", help="between fields; default: a comma")
    csv.add_argument("--encoding", default="utf-8", help="of the text; default: utf-8")
    csv.add_argument("--decimal", default=".", choices=DECIMALS, help="before decimals")
    csv.add_argument("--thousands", default="", choices=THOUSANDS, help="between thousands")
    csv.add_argument(
        "--dates",
        nargs="+",
        default=[],
        metavar="FORMAT",
        help="of dates that are not ISO 8601, such as %%d.%%m.%%Y; the first that fits counts",
    )
    csv.add_argument(
        "--utc", action="store_true", help="instants without an offset are in UTC, not refused"
    )


def _form_of(given: argparse.Namespace) -> CsvForm:
    notation = Notation(given.decimal, given.thousands, tuple(given.dates))
    form = CsvForm(given.delimiter, given.encoding, notation=notation, utc=given.utc)
    if unclear := form.unclear("--"):
        raise BundleError(unclear)
    return form


if __name__ == "__main__":
    sys.exit(main())
