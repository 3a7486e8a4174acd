"""What became of a challenger, read from the ledger of releases."""

from datetime import datetime
from typing import Literal

import polars as pl

Became = Literal[
    "released", "on trial", "taken back", "waits for approval", "passed, not released", "kept out"
]
# How each reads: as a success, as a failure, or as neither.
KINDS: dict[Became, str] = {
    "released": "good",
    "on trial": "open",
    "taken back": "bad",
    "waits for approval": "open",
    "passed, not released": "open",
    "kept out": "bad",
}


def became(
    bundle: str, passed: bool, releases: pl.DataFrame, *, approved_by_hand: bool, since: datetime
) -> Became:
    """What became of the bundle; that it passed its gate does not yet put it into production.

    Args:
        bundle: the challenger's tag.
        passed: whether it passed its gate.
        releases: the ledger's `stable`, `candidate` and `recorded_at`, oldest first.
        approved_by_hand: whether the product wants a person's word before a release.
        since: when the decision that asked for the challenger was recorded; a release after it was
            made in its place, so the challenger waits no more.
    """
    if bundle in releases["stable"].to_list():
        return "released"
    tried = releases["candidate"].to_list()
    if bundle in tried:
        return "on trial" if tried[-1] == bundle else "taken back"
    if not passed:
        return "kept out"
    passed_over = releases.filter(pl.col("recorded_at") > since).height > 0
    return "waits for approval" if approved_by_hand and not passed_over else "passed, not released"
