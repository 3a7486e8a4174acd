"""What is said of a delivery: of the rows that a source gave for a partition, or a whole table."""

from ai_assets.lifecycle.sources import Delivery
from ai_assets.stages.binding import Finding, StageRun
from ai_assets.stages.declared.data import HAS_ROWS, NO_STRAYS, NOT_EMPTIED, NOT_SHRUNK

# Rows that a delivery may lack that were there before, as a share: some are deleted or corrected.
MOST_LACKING = 0.1


def findings(
    run: StageRun,
    name: str,
    rows: int,
    *,
    before: int | None,
    kept: int | None,
    strays: Finding | None,
) -> dict[str, Finding]:
    """The result of each check of a raw table, by the check's name.

    Args:
        run: the stage, at the partition.
        name: the table.
        rows: how many were written.
        before: how many the delivery before had; None where there was none.
        kept: how many are cleaned; None where none are.
        strays: what `no_strays` said; None where partitions have no files of their own.
    """
    there, told = before, "the delivery before had"
    if kept and kept > (before or 0):
        # What nobody has cleaned yet took nothing away: neither an empty delivery nor one cut off.
        there, told = kept, f"{run.product.asset(f'cleaned/{name}').path} has"
    found = {
        HAS_ROWS.name: has_rows(name, run.partition, rows),
        NOT_EMPTIED.name: not_emptied(run, name, rows),
        NOT_SHRUNK.name: not_shrunk(f"{name} has {rows:,} rows{_of(run, name)}", rows, there, told),
    }
    return found if strays is None else {**found, NO_STRAYS.name: strays}


def has_rows(name: str, partition: str | None, rows: int) -> Finding:
    """Whether a source gave rows; an empty partition is suspicious, not necessarily wrong."""
    where = f" for {partition}" if partition else ""
    words = f"{name} has {rows:,} rows{where}." if rows else f"{name} has no rows{where}."
    return Finding(rows > 0, words, {"rows": rows}, warn=True)


def not_emptied(run: StageRun, name: str, rows: int) -> Finding:
    """Whether there are rows, or none were cleaned before that would go now.

    What was made of those rows stays, until somebody asks for the cleaned table by itself.
    """
    cleaned = run.product.asset(f"cleaned/{name}")
    kept = 0 if rows else run.lake.counts(cleaned).get(run.key_in(name), 0)
    if not kept:
        return Finding(True, "Nothing that was there is gone.")
    where = _of(run, name)
    return Finding(
        False,
        f"{name} has no rows{where} any more; {cleaned.path} has {kept:,}. They stay, with all "
        f"that was made of them. If it is meant, materialize {cleaned.path}{where} by itself, and "
        "then this again.",
        {"rows": 0, "cleaned_rows": kept},
    )


def not_shrunk(
    what: str, rows: int, before: int | None, where: str = "the delivery before had"
) -> Finding:
    """Whether about as many rows were delivered as before, or more.

    Args:
        what: how many there are now, in words.
        rows: how many.
        before: how many there were; None where there were none.
        where: they were, in words.
    """
    if not before:
        return Finding(True, "Nothing was delivered before.")
    told = f"{what}; {where} {before:,}."
    lacking = 1 - rows / before
    if lacking <= MOST_LACKING:
        return Finding(True, told)
    if not rows:
        # What becomes of those before is said by `not_emptied`.
        return Finding(False, told, {"rows": rows, "rows_before": before}, warn=True)
    words = (
        f"{told} {lacking:.0%} fewer may be a file that was cut off. What was made of those before "
        "goes as this is cleaned."
    )
    return Finding(False, words, {"rows": rows, "rows_before": before}, warn=True)


def no_strays(run: StageRun, given: Delivery) -> Finding:
    """Whether all rows of the partition's file lie in it, or in others that read it too."""
    if given.strays is None:
        return Finding(True, "An anomaly on order stands in for the file.")
    found = given.strays.collect(engine="streaming").row(0, named=True)
    if not found["rows"]:
        return Finding(True, "Every row of its file lies in a partition that reads it.")
    words = (
        f"The file of {run.partition} holds {found['rows']:,} rows that lie outside what is "
        f"read of it, from {found['first']} to {found['last']}; no partition beside it reads them."
    )
    return Finding(False, words, {"rows_outside": found["rows"]}, warn=True)


def _of(run: StageRun, name: str) -> str:
    """Of which partition the table's rows are, in words; nothing where it has none."""
    return f" of {run.partition}" if run.key_in(name) == run.partition else ""
