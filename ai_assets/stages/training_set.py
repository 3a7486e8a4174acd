"""training_set: features joined with labels over the window, split once."""

import tempfile
from itertools import pairwise
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.cleaning.identity import row_hashes, row_ids
from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.features.encoding import Encoding
from ai_assets.lifecycle.features.lineage import carried_columns, column_lineage
from ai_assets.lifecycle.features.reserved import ROW_COLUMNS
from ai_assets.lifecycle.partitions import missing_partitions
from ai_assets.lifecycle.product import Product
from ai_assets.lifecycle.training.crossing import FOLDS, too_few_to_set_aside
from ai_assets.lifecycle.training.split import copies_together, split_rows
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, Outcome, StageRun
from ai_assets.stages.declared.learning import SPLIT_ONCE
from ai_assets.stages.features import features_of, schemas
from ai_assets.stages.learnable import Window, learnable
from ai_assets.stages.meanings import TRAINING_SET, of_features
from ai_assets.stages.protected import check_groups, with_protected

SPLITS = ("train", "validation", "test")
CROSSED = "crossed"
"""What rows are where they are too few to be set apart."""
_LABEL = pl.col("label")
_OF_SPLITS: dict[str, tuple[pl.Expr, ...]] = {
    "binary": (_LABEL.mean().alias("positive_rate"),),
    "multiclass": (_LABEL.n_unique().alias("classes"),),
    "regression": (_LABEL.mean().alias("mean"), _LABEL.std().alias("standard_deviation")),
}
"""What is told of the labels of each split."""
_DIFFERENT = {
    "binary": "both classes",
    "multiclass": "at least two classes",
    "regression": "at least two different values",
}


def gather(run: StageRun) -> Outcome:
    """Join, split and write the training rows; fit the encoding on the rows to train on."""
    window = learnable(run)
    rows = split_training_rows(run, labelled_features(run, window))
    if is_crossed(rows):
        _check_crossed_labels(rows, run)
    else:
        _check_split_labels(rows, run)
    train = rows.filter(pl.col("split").is_in(["train", CROSSED]))
    check_groups(run, train, window.keys)
    written = run.lake.replace(run.name("training_set"), rows, run.partition)
    encoding = Encoding.fit(
        train.drop(ROW_COLUMNS, strict=False), run.product.request_table.columns
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "encoding.json").write_text(encoding.to_json(), encoding="utf-8")
        window.write(Path(folder))
        run.lake.save_artifact(run.name("training_set"), run.partition, Path(folder))
    summary = rows.group_by("split").agg(
        pl.len().alias("rows"), *_OF_SPLITS[run.product.declaration.label.task]
    )
    order = pl.col("split").replace_strict({name: i for i, name in enumerate((*SPLITS, CROSSED))})
    return Outcome(
        written.digest,
        {
            **shown.rows_and_columns(rows, written.rows, meanings=_meanings(run.product)),
            "splits": shown.table(summary.sort(order)),
            "window": ", ".join(window.keys or ["all"]),
            **({"left_out": shown.json(window.left_out)} if window.left_out else {}),
        },
        {SPLIT_ONCE.name: splits_apart(rows, by_time=run.product.partitions is not None)},
    )


def _meanings(product: Product) -> dict[str, str]:
    declared, columns = product.declaration, schemas(product)
    lineage = column_lineage(product.features_sql, columns)
    carried = carried_columns(product.features_sql, columns)
    return of_features(declared.tables, declared.request, lineage, carried) | TRAINING_SET


def labelled_features(run: StageRun, window: Window) -> pl.DataFrame:
    """Features of the window with their labels; rows without a label are left out, as are those
    whose label had not arrived when the window ended: nobody could have learned from them then.

    Raises:
        MissingPartitionsError: a partition of the window is not in the lake.
        DataError: nothing is left, or all labels are alike.
    """
    _check_window(run, window.keys or [])
    features = features_of(run, window.keys)
    labels = run.lake.scan(run.name("labels"), window.keys).filter(pl.col("label").is_not_null())
    if run.span is not None:
        labels = labels.filter(pl.col("known_at") <= run.span.end)
    rows = labels.join(features, on="_row_id", how="inner").sort("_row_id").collect()
    _check_labels(rows, run, features.select(pl.len()).collect().item() if rows.is_empty() else 0)
    return with_protected(run, _with_groups(run, rows), window.keys)


def _with_groups(run: StageRun, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the number of the group that each belongs to: as declared, or its copies.

    Time keeps copies apart where there is one, and those of pictures and texts are rejected before.
    A key of pseudonyms differs from installation to installation: there too the content says where
    a row goes, or the same data would be judged by other rows elsewhere.
    """
    declared = run.product.declaration
    table = run.product.request_table
    names = declared.training.split.group
    keyed = table.key and not table.identified_by_pseudonyms
    if names or (run.product.partitions is None and not keyed and declared.kind == "tabular"):
        unasked = {*table.late_columns, *table.pseudonyms}
        asked = [name for name in table.columns if name not in unasked]
        request = run.lake.scan(run.name(f"cleaned/{declared.request}"))
        told = request.select("_row_id", *(names or asked)).collect()
        numbers = row_ids(row_hashes(told, names or asked)).alias("_group")
        rows = rows.join(told.select("_row_id", numbers), on="_row_id", how="left")
    if names or "_group" not in rows.columns:
        return rows
    together = copies_together(rows["_group"].to_numpy(), rows["_row_id"].to_numpy())
    return rows.with_columns(pl.Series("_group", together))


def _check_window(run: StageRun, window: list[str]) -> None:
    """One error for all that the window lacks, of features and labels alike."""
    names = [run.name(asset) for asset in ("features", "labels")]
    there = {name.path: set(run.lake.partitions(name)) for name in names} if window else {}
    lacking = {path: [key for key in window if key not in keys] for path, keys in there.items()}
    lacking = {path: keys for path, keys in lacking.items() if keys}
    if lacking:
        missing = sorted({key for keys in lacking.values() for key in keys})
        select = " or ".join(f"+key:{path}" for path in lacking)
        raise missing_partitions(" and ".join(lacking), missing, select)


def _check_labels(rows: pl.DataFrame, run: StageRun, asked: int) -> None:
    where = _where(run)
    if rows.is_empty() and not asked:
        request = run.product.declaration.request
        raise DataError(
            f"{where} has no labelled rows, for there are no rows of '{request}': look at its "
            f"source, and at {run.name(f'rejected/{request}').path}."
        )
    if rows.is_empty():
        raise DataError(
            f"{where} has no labelled rows; of {asked:,} rows label.sql gave only nulls, or "
            "outcomes that were not known yet."
        )
    declared = run.product.declaration
    if rows["label"].n_unique() < 2:
        raise DataError(
            f"{where} needs rows of {_classes(run)}, but all {rows.height:,} labels are "
            f"{_word(run, rows['label'][0])}: label.sql is {declared.label.sql!r}."
        )


def _check_split_labels(rows: pl.DataFrame, run: StageRun) -> None:
    """Models learn from train rows and choose a threshold on validation rows: both need both."""
    for split in ("train", "validation"):
        labels = rows.filter(pl.col("split") == split)["label"]
        if labels.n_unique() < 2:
            raise DataError(
                f"{_where(run)} needs {split} rows of {_classes(run)}, but all {labels.len():,} "
                f"labels there are {_word(run, labels[0])}. A longer training.window may have "
                "both, or another training.split."
            )
    _check_every_class(rows, run)


def _check_crossed_labels(rows: pl.DataFrame, run: StageRun) -> None:
    """Each fold's model must know every class: two rows of each, not of one group, are needed."""
    ids = shared_ids(rows)
    if (units := ids.n_unique()) < 2 * FOLDS:
        raise DataError(
            f"{_where(run)} needs at least {2 * FOLDS} labelled rows (or groups of rows) for a "
            f"cross-validation of {FOLDS} folds, but got {units}."
        )
    declared = run.product.declaration
    if declared.label.task == "regression":
        return
    units_of = dict(rows.group_by("label").agg(pl.col(ids.name).n_unique()).iter_rows())
    words = declared.answers
    few = [word for number, word in enumerate(words) if units_of.get(number, 0) < 2]
    if few:
        raise DataError(
            f"{_where(run)} needs at least two labelled rows (or groups of rows) of each class, "
            f"but of {', '.join(map(repr, few[:10]))} there are fewer: whatever learned from the "
            "only one could not be judged by it."
        )


def _check_every_class(rows: pl.DataFrame, run: StageRun) -> None:
    """A class that no row to train on has would never be answered."""
    declared = run.product.declaration
    there = set(rows.filter(pl.col("split") == "train")["label"].to_list())
    lacking = [word for number, word in enumerate(declared.classes) if number not in there]
    if lacking:
        raise DataError(
            f"{_where(run)} has no train rows of {', '.join(map(repr, lacking[:10]))}, which "
            "label.classes names. A longer training.window may have some; or take it out."
        )


def _classes(run: StageRun) -> str:
    return _DIFFERENT[run.product.declaration.label.task]


def _word(run: StageRun, label: float) -> str:
    classes = run.product.declaration.classes
    return repr(classes[int(label)]) if classes else f"{label:g}"


def _where(run: StageRun) -> str:
    as_of = f" as of {run.partition}" if run.partition else ""
    return f"training_set of {run.product.name}{as_of}"


def split_training_rows(run: StageRun, rows: pl.DataFrame) -> pl.DataFrame:
    """Say of each row whether it is to train on, to validate with or to test on."""
    declared = run.product.declaration
    split = declared.training.split
    alone = run.product.partitions is None and declared.kind == "tabular"
    if alone and too_few_to_set_aside(rows.height, split):
        return rows.with_columns(pl.lit(CROSSED).alias("split"))
    times = rows["event_time"].to_numpy() if run.product.partitions is not None else None
    names = split_rows(times, shared_ids(rows).to_numpy(), split.validation, split.test)
    return rows.with_columns(pl.Series("split", names, dtype=pl.String))


def is_crossed(rows: pl.DataFrame) -> bool:
    """Whether no row is set aside."""
    return bool((rows["split"] == CROSSED).all())


def shared_ids(rows: pl.DataFrame) -> pl.Series:
    """What decides where a row goes when there is no time: its group's number, else its id."""
    return rows["_group" if "_group" in rows.columns else "_row_id"]


def splits_apart(rows: pl.DataFrame, *, by_time: bool) -> Finding:
    """Whether the splits are disjoint, present and, where split by time, in order of time."""
    repeated = rows.height - rows["_row_id"].n_unique()
    if repeated:
        return Finding(False, f"{repeated:,} rows occur more than once.")
    if is_crossed(rows):
        return Finding(True, f"{rows.height:,} rows, too few to set some aside: all teach.")
    if absent := [name for name in SPLITS if name not in rows["split"].to_list()]:
        return Finding(False, f"There are no rows in {', '.join(absent)}.")
    if by_time and _overlap(rows):
        return Finding(False, "A split begins before the one before it has ended.")
    if "_group" in rows.columns and (torn := _torn_groups(rows)):
        return Finding(False, f"{torn:,} groups have rows in more than one split.")
    order = "in order of time" if by_time else "by hash of their id"
    if "_group" in rows.columns:
        order = f"by hash of their {rows['_group'].n_unique():,} groups"
    return Finding(True, f"{rows.height:,} rows, each in one split, {order}.")


def _torn_groups(rows: pl.DataFrame) -> int:
    return (
        rows.group_by("_group").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
    )


def _overlap(rows: pl.DataFrame) -> bool:
    spans = rows.group_by("split").agg(
        pl.col("event_time").min().alias("first"), pl.col("event_time").max().alias("last")
    )
    first = dict(zip(spans["split"], spans["first"], strict=True))
    last = dict(zip(spans["split"], spans["last"], strict=True))
    return any(last[a] >= first[b] for a, b in pairwise(SPLITS))
