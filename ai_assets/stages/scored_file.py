"""scored_file: a file of rows, answered by what is in production as the server would do it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun, digest
from ai_assets.stages.declared.releasing import ALL_SCORED, ScoredFileConfig
from ai_assets.stages.release import check_built
from ai_assets.stages.training_data import save_folder

ANSWERS, REJECTED = "answers.parquet", "answers.rejected.parquet"
_SHOWN = 10


def score_named_file(run: StageRun) -> Outcome:
    """Score the file piece by piece. Without a file, say how to name one and do nothing.

    Raises:
        DataError: there is no such file or bundle, its columns are not the request's, or the
            tables that answers need cannot be read.
    """
    config = run.config or ScoredFileConfig()
    if config.file is None:
        words = "No file was named. In the launchpad: config: {file: /path/to/rows.parquet}"
        return Outcome(digest(words), {"outcome": words}, {ALL_SCORED.name: Finding(True, words)})
    tag = answering(run, config)
    version = save_folder(run, "scored_file", partial(_write, run, config, tag))
    folder = Path(run.lake.artifact(run.name("scored_file"), None))
    answers = pl.scan_parquet(folder / ANSWERS)
    scored = answers.select(pl.len()).collect().item()
    rejected = pl.read_parquet(folder / REJECTED) if (folder / REJECTED).is_file() else None
    bad = rejected.height if rejected is not None else 0
    return Outcome(
        version,
        {
            "file": config.file,
            "bundle": tag,
            "answers": shown.path(folder / ANSWERS),
            "first_answers": shown.table(answers.head(_SHOWN).collect()),
            **({"rejected": shown.table(rejected.head(_SHOWN))} if rejected is not None else {}),
            **shown.numbers({"scored": scored, "rejected_rows": bad}),
        },
        {ALL_SCORED.name: all_scored(scored, bad)},
    )


def answering(run: StageRun, config: ScoredFileConfig) -> str:
    """Tag of the bundle that answers.

    Raises:
        DataError: there is none of that tag, or nothing is in production.
    """
    if config.bundle is not None:
        return check_built(run, config.bundle)
    history = run.tools.ledger.history(run.product.name)
    if not history.height:
        raise DataError(
            f"Nothing of {run.product.name} is in production yet. Materialize its release, or name "
            "a bundle in the launchpad."
        )
    return str(history["stable"][-1])


def all_scored(scored: int, rejected: int) -> Finding:
    """Whether every row was answered."""
    if not rejected:
        return Finding(True, f"All {scored:,} rows were scored.")
    words = f"{rejected:,} of {scored + rejected:,} rows were rejected, each with a reason."
    return Finding(False, words, {"rejected": rejected}, warn=True)


def _write(run: StageRun, config: ScoredFileConfig, tag: str, folder: Path) -> None:
    # As much as a server's start, and needed where a file is named only.
    from ai_assets.serving.batch import score_file
    from ai_assets.serving.problems import Refused, told
    from ai_assets.serving.settings import Settings

    settings = replace(Settings.from_environment(), lake=run.lake.root)
    try:
        score_file(
            run.tools.bundles.payload(tag),
            Path(str(config.file)),
            folder / ANSWERS,
            folder / REJECTED,
            config.rows_at_once,
            settings,
            run.product.request_table.source.form if config.as_source else None,
        )
    except Refused as refused:
        raise DataError(told(refused)) from refused
