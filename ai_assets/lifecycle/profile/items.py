"""From pictures or texts, and what they are labelled with, to the declaration of their product."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.profile.column_types import Typed, typed
from ai_assets.lifecycle.profile.facts import facts_of
from ai_assets.lifecycle.profile.folders import UNTOLD, of_folder
from ai_assets.lifecycle.profile.guess import Guess, Known, guess
from ai_assets.lifecycle.profile.keys import looks_like_id
from ai_assets.lifecycle.profile.pictures import declared_picture
from ai_assets.lifecycle.profile.places import Place, read_sample
from ai_assets.lifecycle.profile.plans import plan_of_items
from ai_assets.lifecycle.profile.sample import Sample
from ai_assets.lifecycle.profile.sql_words import table_name
from ai_assets.lifecycle.profile.target import check_target, shares, target_of
from ai_assets.lifecycle.profile.write import Page, write_yaml

_WORDS_OF_LANGUAGE = 3.0
# Words of a language that the vocabulary was not made for come to pieces.
_TOKENS_OF_A_WORD, _TOKENS_STEP, _FEWEST_TOKENS, _MOST_TOKENS = 2.0, 16, 32, 256
_FEWEST_CHARACTERS = 500
_FEWEST_GROUPS = 0.05


@dataclass(frozen=True)
class AskedItems:
    """What a person says of their pictures or texts; the rest is guessed.

    Attributes:
        kind: image or text.
        place: a folder of files, or for texts rows of a table.
        target: the column to predict; of folders whose names are the labels what to call these.
        text: the column of the texts in a table; guessed if None.
    """

    kind: str
    place: Place
    target: str | None = None
    text: str | None = None


def propose_items(asked: AskedItems, most: int) -> str:
    """The text of `defs.yaml` of a product over pictures or texts.

    Args:
        asked: data and target, and what else is known.
        most: rows to look at; of more, a sample.

    Raises:
        DataError: the data cannot be read, or has nothing to predict.
    """
    path = Path(asked.place.data).expanduser()
    in_folder = "://" not in asked.place.data and path.is_dir()
    if asked.kind == "image" and not in_folder:
        what = "is a file" if path.is_file() else "does not exist"
        raise DataError(
            f"--data of --kind image must be a folder of pictures, but '{asked.place.shown}' {what}"
            "."
        )
    is_folder = in_folder and (asked.kind == "image" or any(path.rglob("*.txt")))
    if is_folder:
        sample = of_folder(path.resolve(), asked.kind, asked.target, asked.place.table)
    else:
        sample = read_sample(asked.place, most)
    target_name = asked.target or sample.source.get("label")
    if target_name is None:
        raise DataError(
            f"--target must name the column of '{asked.place.shown}' to predict, but got none. "
            f"There are {', '.join(map(repr, sample.frame.columns[:20]))}."
        )
    check_target(target_name, sample.frame.columns, asked.place.shown)
    columns = {n: typed(sample.frame[n], words=sample.has_words) for n in sample.frame.columns}
    item = _item(asked, sample, columns, target_name, is_folder=is_folder)
    return _page(asked.kind, sample, columns, target_name, item)


def _item(
    asked: AskedItems, sample: Sample, columns: dict[str, Typed], target: str, *, is_folder: bool
) -> Guess:
    """The column that the model reads."""
    if asked.kind == "image":
        declared, reason = declared_picture(sample)
        return Guess("image", "item", declared, reason)
    if is_folder:
        paths = sample.frame[str(sample.path)].drop_nulls()
        texts = pl.Series("text", [_read(sample, path) for path in paths])
        return Guess("text", "item", *_declared_text(texts))
    name = asked.text or _longest(columns, target)
    if name not in columns:
        raise DataError(
            f"--text must name a column of '{asked.place.shown}', but got '{name}'."
            f"{did_you_mean(name, columns)}"
        )
    if name == target:
        raise DataError(f"--text must be another column than --target, but both are '{name}'.")
    return Guess(name, "item", *_declared_text(columns[name].values.cast(pl.String)))


def _read(sample: Sample, path: str) -> str:
    encoding = sample.source.get("encoding", "utf-8")
    file = Path(sample.source["folder"], path)
    return file.read_text(encoding=encoding, errors="replace") if file.is_file() else ""


def _longest(columns: dict[str, Typed], target: str) -> str:
    """The column with the most words a value."""
    words = {
        name: column.values.drop_nulls().str.count_matches(r"\S+").mean()
        for name, column in columns.items()
        if column.type == "string" and name != target
    }
    told = {name: mean for name, mean in words.items() if isinstance(mean, float)}
    name = max(told, key=lambda one: told[one], default="")
    if not name or told[name] < _WORDS_OF_LANGUAGE:
        raise DataError(
            "--text must name the column of the texts, since none of the columns looks like "
            f"language: {', '.join(columns)}."
        )
    return name


def _declared_text(texts: pl.Series) -> tuple[dict[str, Any], str]:
    """The fields of a column of texts, and how long they are."""
    there = texts.drop_nulls()
    count = there.str.count_matches(r"\S+").quantile(0.95) or 0
    longest = there.str.len_chars().max()
    wanted = math.ceil(count * _TOKENS_OF_A_WORD / _TOKENS_STEP) * _TOKENS_STEP
    tokens = min(_MOST_TOKENS, max(_FEWEST_TOKENS, wanted))
    most = max(_FEWEST_CHARACTERS, 2 * longest if isinstance(longest, int) else 0)
    declared: dict[str, Any] = {"type": "text", "tokens": tokens}
    if there.len() == texts.len():
        declared["nullable"] = False
    declared["max"] = math.ceil(most / 100) * 100
    return declared, f"95% of the texts have {count:.0f} words or fewer; max is in characters"


def _page(
    kind: str, sample: Sample, columns: dict[str, Typed], target_name: str, item: Guess
) -> str:
    target = target_of(target_name, columns[target_name])
    facts = facts_of(sample, columns)
    known = Known([], "", None, target_name, target.task, list(target.allowed))
    values = columns[target_name].values
    others = [
        _other(guess(name, column, facts.get(name), known, values))
        for name, column in columns.items()
        if name not in (item.name, sample.path)
    ]
    if sample.path is not None:
        known = replace(known, key=[sample.path], key_reason="every file is a row")
    planned = plan_of_items(kind, sample.rows, target, _shared(others, columns))
    page = Page(
        sample,
        table_name(sample.name.split(".")[0]),
        [item, *others],
        known,
        target,
        shares(values) if target.task != "regression" else "",
        sorted({word for column in columns.values() for word in column.missing}),
        planned,
        kind,
    )
    return write_yaml(page)


def _shared(others: list[Guess], columns: dict[str, Typed]) -> str | None:
    """The column of ids that several rows share, as translations of a text do; None without."""
    for one in others:
        values = columns[one.name].values
        named = one.use == "beside" and looks_like_id(one.name) and not values.null_count()
        if named and _FEWEST_GROUPS * len(values) < values.n_unique() < len(values):
            return one.name
    return None


def _other(one: Guess) -> Guess:
    """A column beside the item: of the collection, told by nobody who asks."""
    if one.use in ("target", "left out", "personal"):
        return one
    kept = {k: v for k, v in one.declared.items() if k not in ("example", "nullable")}
    reason = "; ".join(filter(None, (one.reason, UNTOLD)))
    return replace(one, use="beside", declared={**kept, "known_at": "NULL"}, reason=reason)
