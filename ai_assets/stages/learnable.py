"""Which partitions of the training window are learned from: none whose data was judged broken.

A verdict says which data it judged. It stands until that of its partition is made again with other
content, or the partition is judged anew. Features that differ are other content where the query is
the same: a new query makes all features anew, of data that is as broken as before. Labels are not
among them: those that callers tell come for as long as they like, and mend nothing. A verdict on a
partition is made of what was known when that ended, and a window ends with the model's own: no
later verdict is looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.lifecycle.errors import DataError, MissingPartitionsError
from ai_assets.lifecycle.verdict.evidence import Verdict
from ai_assets.stages.binding import StageRun, digest

if TYPE_CHECKING:
    import polars as pl

WINDOW, JUDGED = "window.json", "judged.json"
QUERY = "query"
_OF_THE_QUERY = {QUERY, "features"}


@dataclass(frozen=True)
class Window:
    """What a model as of a partition learns from.

    Attributes:
        keys: The partitions, oldest first; None for a product without partitions.
        left_out: Why each other partition of the declared window is not, by its key.
    """

    keys: list[str] | None
    left_out: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Keep it beside the training set, for the stages that come after."""
        _write(folder / WINDOW, asdict(self))


def learnable(run: StageRun) -> Window:
    """The partitions of the window but those judged broken, which the log names.

    Raises:
        DataError: nothing is left.
    """
    keys = run.product.window(run.partition)
    if keys is None:
        return Window(None)
    accepted = run.product.declaration.training.accept
    found = {key: broken_words(run, key) for key in keys if key not in accepted}
    left_out = {key: words for key, words in found.items() if words}
    for key, words in left_out.items():
        run.say(f"{key} is not learned from. {words}")
    if len(left_out) == len(keys):
        told = "\n".join(f"  {key}: {words}" for key, words in left_out.items())
        raise DataError(
            f"training_set of {run.product.name} as of {run.partition} has nothing to learn from: "
            f"all of its window was judged broken.\n{told}\n"
            "Mend the data and make it again, or, where it is right as it is, name the partition "
            "in training.accept."
        )
    return Window([key for key in keys if key not in left_out], left_out)


def learned_partitions(run: StageRun) -> list[str] | None:
    """What the training set as of the run's partition was made of; None without partitions."""
    file = run.lake.artifact(run.name("training_set"), run.partition) / WINDOW
    if not file.is_file():
        return run.product.window(run.partition)
    keys: list[str] | None = json.loads(file.read_text(encoding="utf-8"))["keys"]
    return keys


def not_learned(run: StageRun, bundle: str, rows: "pl.DataFrame") -> "pl.DataFrame":
    """The rows that a bundle has not learned from; a model is surer of those it has than of others.

    With partitions a release scores what came after it had learned. Without, one snapshot holds
    both, and rows that were learned from would look like drift, and like a better model.

    Args:
        run: of a stage that watches.
        bundle: its tag.
        rows: with `_row_id`.
    """
    if run.product.partitions is not None:
        return rows
    told = run.tools.bundles.payload(bundle) / "data_versions.json"
    version = json.loads(told.read_text(encoding="utf-8"))["training_set"]
    learned = run.lake.scan(run.name("training_set"), version=version)
    if run.product.declaration.training.refit == "none":
        learned = learned.filter(learned_splits())
    return rows.join(learned.select("_row_id").collect(), on="_row_id", how="anti")


def learned_splits() -> "pl.Expr":
    """Which rows of a training set a model that is not refitted has seen."""
    import polars as pl

    return pl.col("split") != "test"


def learned_by(run: StageRun) -> list[str]:
    """The bundles, oldest first, that say they learned from the run's partition."""
    found = []
    for tag in run.tools.bundles.tags(run.product.name):
        file = run.tools.bundles.payload(tag) / WINDOW
        keys = json.loads(file.read_text(encoding="utf-8"))["keys"] if file.is_file() else None
        if keys is not None and run.partition in keys:
            found.append(tag)
    return found


def broken_words(run: StageRun, key: str) -> str:
    """What the verdict says that stands on a partition, if it is broken data; else nothing."""
    try:
        folder = run.lake.artifact(run.name("verdict"), key)
    except MissingPartitionsError:
        return ""
    verdict = Verdict.from_json((folder / "verdict.json").read_text(encoding="utf-8"))
    if verdict.cause != "broken_data":
        return ""
    file, now = folder / JUDGED, content_of(run.at(key))
    judged = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    # Of a source that could not be read there is nothing to compare, nor anything to learn from.
    stands = not now["features"] or not judged or is_same(judged, now)
    return verdict.words if stands else ""


def is_same(judged: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether data has the content that was judged, apart from what a new query makes of it."""
    if any(judged[asset] != now[asset] for asset in judged.keys() & now.keys() - _OF_THE_QUERY):
        return False
    return judged.get(QUERY) != now[QUERY] or judged["features"] == now["features"]


def content_of(run: StageRun) -> dict[str, str]:
    """Digests of what is judged of the run's partition, empty where it is not there; and of the
    query that makes its features."""
    tables = run.product.history or [run.product.declaration.request]
    assets = [
        "features",
        *(f"{kind}/{name}" for name in tables for kind in ("cleaned", "rejected")),
    ]
    found = {
        asset: run.lake.digest(run.name(asset), run.partition)
        if run.lake.exists(run.name(asset), run.partition)
        else ""
        for asset in assets
    }
    return {**found, QUERY: digest(run.product.features_sql + str(run.product.declaration.horizon))}


def write_verdict(verdict: Verdict, judged: dict[str, str], folder: Path) -> None:
    """Keep a verdict, and what it judged, for `broken_words`."""
    _write(folder / "verdict.json", json.loads(verdict.to_json()))
    _write(folder / JUDGED, judged)


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1)
    file.write_text(text + "\n", encoding="utf-8")
