"""How well questions are told apart by topic: ours beside TF-IDF with logistic regression.

503 questions of 39 topics, each in Swedish and English; the two of a question are always on the
same side of a split. Five times five folds; macro-F1 of all questions of a repeat, each answered
by a model that saw neither of its two forms. The interval of a difference resamples questions.
`products.py` and `compression.py` print these figures beside those of images.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from figures import Figure

from ai_assets.lifecycle.compression.onnx_session import open_session, single_row_latency
from ai_assets.lifecycle.compression.text import in_int8, with_fewer_layers
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.lifecycle.features.tokens import shipped_tokenizer, token_ids
from ai_assets.lifecycle.learners import get_family
from ai_assets.lifecycle.learners.base import Dataset, Model
from ai_assets.lifecycle.learners.text_features import run_by_length
from ai_assets.lifecycle.learners.text_model import TextModel

FILES = {"sv": "faq.json", "en": "faq-en.json"}
TOKENS, FOLDS, REPEATS = 64, 5, 5
RESAMPLES = 1000
FEWER = 4
LEAST_GAIN, MOST_LOST, SMALLER, QUICKER, QUICKER_SHORT = -0.01, 0.01, 3.5, 1.7, 2.0
Answers = dict[str, np.ndarray]
"""Topics that each way of learning gave to the questions, int [n]."""


@dataclass(frozen=True)
class Questions:
    """The questions, in both languages.

    Attributes:
        data: tokens and topics.
        texts: as they were written.
        ids: what question each is a form of.
        language: `sv` or `en`.
    """

    data: Dataset
    texts: np.ndarray
    ids: np.ndarray
    language: np.ndarray


@cache
def questions() -> Questions:
    folder = files("zaragoza_construction_faq") / "data"
    rows = [
        (each["id"], language, each["q"], each["category"])
        for language, name in FILES.items()
        for each in json.loads((folder / name).read_text(encoding="utf-8"))["questions"]
    ]
    ids, language, texts, topics = (
        np.array(part, dtype=object) for part in zip(*rows, strict=True)
    )
    names, y = np.unique(topics.astype(str), return_inverse=True)
    x = token_ids(shipped_tokenizer(), list(texts), TOKENS).astype(np.float32)
    column = EncodedColumn("question", "text", shape=(TOKENS,), tokenizer=shipped_tokenizer())
    data = Dataset(x, y.astype(np.float64), None, Encoding((column,)), classes=len(names))
    return Questions(data, texts, ids, language)


def folds(repeat: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions to learn from and to answer, five times; topics spread evenly."""
    from sklearn.model_selection import StratifiedKFold

    asked = questions()
    ids, first = np.unique(asked.ids.astype(str), return_index=True)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat)
    for _, held in split.split(ids, asked.data.y[first]):
        out = np.isin(asked.ids.astype(str), ids[held])
        yield np.flatnonzero(~out), np.flatnonzero(out)


def ours(family: str, rows: np.ndarray, seed: int) -> Model:
    """As the product refits: all rows, for as many epochs as the schedule has."""
    data = questions().data.take(rows)
    return get_family(family).fit(data, None, {}, task="multiclass", seed=seed, threads=0)


def by_words(rows: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Answers of TF-IDF of words and of characters with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from threadpoolctl import threadpool_limits

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    found = questions()
    with threadpool_limits(1):
        model = make_pipeline(
            make_union(words, characters), LogisticRegression(C=100.0, max_iter=1000)
        )
        model.fit(found.texts[rows], found.data.y[rows])
        answers: np.ndarray = model.predict(found.texts[asked])
    return answers.astype(np.int64)


def answered(repeat: int) -> Answers:
    """Topics given to every question in one repeat, by each way of learning."""
    found, x = {}, questions().data.x
    for name in ("words", "probe", "encoder"):
        found[name] = np.empty(len(x), dtype=np.int64)
    for rows, asked in folds(repeat):
        found["words"][asked] = by_words(rows, asked)
        for family in ("probe", "encoder"):
            model = ours(family, rows, repeat)
            found[family][asked] = model.predict(x[asked]).argmax(axis=1)
    return found


def across(learned: str, asked_in: str) -> Answers:
    """Topics given to questions in one language by models that learned from the other."""
    asked, found = questions(), {}
    for name in ("words", "probe", "encoder"):
        found[name] = np.full(len(asked.ids), -1)
    for rows, held in folds(0):
        rows = rows[asked.language[rows] == learned]
        held = held[asked.language[held] == asked_in]
        found["words"][held] = by_words(rows, held)
        for family in ("probe", "encoder"):
            found[family][held] = ours(family, rows, 0).predict(asked.data.x[held]).argmax(axis=1)
    return found


def macro_f1(answers: np.ndarray, rows: np.ndarray) -> float:
    """Mean over topics of the F1 of the answers to these rows, which may repeat."""
    data = questions().data
    y, size = data.y[rows].astype(np.int64), data.classes or 0
    table = np.bincount(y * size + answers[rows], minlength=size * size).reshape(size, size)
    all_of = table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean(2 * np.diag(table) / np.maximum(all_of, 1)))


def interval(repeats: list[Answers], one: str, other: str) -> tuple[float, float, float]:
    """Difference of macro-F1, mean of the repeats, and its 95 % interval over questions."""
    ids = np.unique(questions().ids.astype(str), return_inverse=True)[1]
    forms = [np.flatnonzero(ids == number) for number in range(ids.max() + 1)]
    random = np.random.default_rng(0)

    def difference(rows: np.ndarray) -> float:
        parts = [macro_f1(r[one], rows) - macro_f1(r[other], rows) for r in repeats]
        return float(np.mean(parts))

    drawn = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(forms), len(forms))
        drawn.append(difference(np.concatenate([forms[number] for number in chosen])))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return difference(np.arange(len(ids))), float(low), float(high)


def figures_of_product() -> list[Figure]:
    """The families beside TF-IDF, and beside each other."""
    repeats = [answered(repeat) for repeat in range(REPEATS)]
    rows = np.arange(len(questions().ids))
    mean = {name: float(np.mean([macro_f1(r[name], rows) for r in repeats])) for name in repeats[0]}
    better = max(("probe", "encoder"), key=lambda name: mean[name])
    beside, low_beside, high_beside = interval(repeats, better, "words")
    gain, low, high = interval(repeats, "encoder", "probe")
    how = f"question_topic, macro-F1, {len(repeats)}x{FOLDS} grouped folds"
    return [
        Figure(
            f"{how}: {better}, other side TF-IDF", f"{mean[better]:.4f}", f"{mean['words']:.4f}",
            mean[better] / mean["words"],
            f"above (is {beside:+.4f}, {low_beside:+.4f} to {high_beside:+.4f})", beside > 0,
        ),
        Figure(
            f"{how}: fine-tuned, other side probe", f"{mean['encoder']:.4f}",
            f"{mean['probe']:.4f}", mean["encoder"] / mean["probe"],
            f"lower end > {LEAST_GAIN} (is {gain:+.4f}, {low:+.4f} to {high:+.4f})",
            low > LEAST_GAIN,
        ),
    ]  # fmt: skip


def figures_across() -> list[Figure]:
    """From one language to the other; no goal: it is what a reader should know."""
    figures = []
    for learned, asked_in in (("en", "sv"), ("sv", "en")):
        answers = across(learned, asked_in)
        rows = np.flatnonzero(questions().language == asked_in)
        value = {name: macro_f1(found, rows) for name, found in answers.items()}
        name = f"question_topic, macro-F1, learned in {learned}, asked in {asked_in}"
        goal = f"none (probe {value['probe']:.4f})"
        other = value["words"]
        ratio = value["encoder"] / other if other else None
        figures.append(Figure(name, f"{value['encoder']:.4f}", f"{other:.4f}", ratio, goal, True))
    return figures


def figures_of_compression() -> list[Figure]:
    """Int8 alone, and with layers left out, against the fine-tuned model, over five folds."""
    asked = questions().data
    found = {name: np.empty(len(asked), dtype=np.int64) for name in ("whole", "int8", "short")}
    graphs: dict[str, bytes] = {}
    for rows, held in folds(0):
        whole = ours("encoder", rows, 0)
        assert isinstance(whole, TextModel)
        short = with_fewer_layers(whole, asked.take(rows), None, FEWER, seed=0, threads=0)
        graphs = {"whole": whole.to_onnx(), "int8": in_int8(whole), "short": in_int8(short)}
        for name, graph in graphs.items():
            x = asked.x[held]
            found[name][held] = run_by_length(open_session(graph, threads=0), x, x).argmax(axis=1)
    everything = np.arange(len(asked))
    value = {name: macro_f1(answers, everything) for name, answers in found.items()}
    times = median_times(graphs, asked.x)
    return [
        figure
        for name, words, quicker in (
            ("int8", "int8", QUICKER),
            ("short", f"{FEWER} of 6 layers, int8", QUICKER_SHORT),
        )
        for figure in compared(name, words, quicker, graphs, value, times)
    ]


def compared(
    name: str,
    words: str,
    quicker: float,
    graphs: dict[str, bytes],
    value: dict[str, float],
    times: dict[str, float],
) -> list[Figure]:
    """Size, time and loss of a compressed graph against the whole one."""
    sizes = {key: len(graph) / 1e6 for key, graph in graphs.items()}
    smaller, speed = sizes["whole"] / sizes[name], times["whole"] / times[name]
    lost = value["whole"] - value[name]
    return [
        Figure(
            f"question_topic, {words}: size", f"{sizes[name]:.1f} MB", f"{sizes['whole']:.1f} MB",
            smaller, f"{SMALLER}x smaller", smaller >= SMALLER,
        ),
        Figure(
            f"question_topic, {words}: p50 of one", f"{times[name]:.2f} ms",
            f"{times['whole']:.2f} ms", speed, f"{quicker}x faster", speed >= quicker,
        ),
        Figure(
            f"question_topic, {words}: macro-F1", f"{value[name]:.4f}", f"{value['whole']:.4f}",
            None, f"at most {MOST_LOST} lost (is {lost:+.4f})", lost <= MOST_LOST,
        ),
    ]  # fmt: skip


def median_times(graphs: dict[str, bytes], x: np.ndarray, rounds: int = 5) -> dict[str, float]:
    """p50 of one question in milliseconds on one core; rounds alternate between the graphs."""
    sessions: dict[str, Any] = {name: open_session(graph) for name, graph in graphs.items()}
    spread = x[:: max(1, len(x) // 100)]
    taken: dict[str, list[float]] = {name: [] for name in graphs}
    for _ in range(rounds):
        for name, session in sessions.items():
            taken[name].append(single_row_latency(session, spread, 100)[0])
    return {name: float(np.median(found)) for name, found in taken.items()}
