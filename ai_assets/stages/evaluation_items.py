"""evaluation, of pictures and texts: what is mistaken, and what the served graph withstands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation import attacks, plots, plots_of_items
from ai_assets.lifecycle.evaluation.graph_gradient import GraphGradient
from ai_assets.lifecycle.evaluation.languages import by_language, languages_ok
from ai_assets.lifecycle.evaluation.mistakes import frequent, mistaken, surest
from ai_assets.lifecycle.evaluation.plots_of_items import Mistake
from ai_assets.lifecycle.evaluation.robustness import (
    MOST_ROWS,
    Robustness,
    chosen,
    measure_robustness,
)
from ai_assets.lifecycle.evaluation.spec import Withstands
from ai_assets.lifecycle.features.encoding import EncodedColumn
from ai_assets.lifecycle.product import ItemDeclaration, TextDeclaration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.tables import Column
from ai_assets.stages import shown
from ai_assets.stages.binding import Finding, StageRun
from ai_assets.stages.declared.learning import LANGUAGES, WITHSTANDS
from ai_assets.stages.training_data import TrainingData

_ATTACKED = {"image": 100, "text": 30}
_MOST_PIXELS = 64 * 64
"""An adversary without gradients needs many answers a pixel; with them fewer larger pictures are
tried, so that it takes no longer."""
_LEAST_ATTACKED = 10
_STEPS = 20
"""Of a walk along a gradient, which costs little where it need not be estimated."""
TRUE, THROUGH, ESTIMATED, TRIED = (
    "true gradients of the judged graph",
    "gradients of the judged graph, straight through its rounding to 8 bits",
    "gradients estimated from answers, which find less",
    "the worst of some tries, judged by their answers",
)
"""How an adversary knows where to go."""


@dataclass(frozen=True)
class Attacked:
    """Accuracy that remains under an adversary.

    Attributes:
        rows: how many items it was tried on.
        clean: accuracy on them as they are.
        remains: accuracy by the name of what the adversary does.
        may: what it may do.
        method: how it knows where to go.
    """

    rows: int
    clean: float
    remains: Mapping[str, float]
    may: str
    method: str

    def table(self) -> pl.DataFrame:
        """A row an attack."""
        told = {"may": self.may, "by": self.method, "rows": self.rows, "clean": self.clean}
        return pl.DataFrame(
            [{"attack": k, **told, "remains": value} for k, value in self.remains.items()]
        )


class ItemScorer:
    """Scores test rows whose item was changed, by the graph that is judged.

    Args:
        score: from rows of the matrix to P(positive) [n] or probabilities [n, K].
        data: the training set, whose test rows are looked at.
        decision: how scores become answers.
        name: the column of the items.
        slope: of the graph's answers along the matrix, where there is one.
    """

    def __init__(
        self,
        score: Any,
        data: TrainingData,
        decision: Decision,
        name: str,
        slope: GraphGradient | None = None,
    ) -> None:
        self._score, self._decision, self.slope = score, decision, slope
        test = data.split("test")
        self.x, self.y = test.x, test.y.astype(np.int64)
        self.items: list[Any] = data.frame("test")[name].to_list()
        places = zip(data.encoding.places, data.encoding.columns, strict=True)
        self.place, self.column = next((p, c) for p, c in places if c.name == name)

    def of_items(self, items: Sequence[Any], rows: np.ndarray) -> np.ndarray:
        """Probabilities [n, K] of these test rows with these items."""
        return self.of_values(_encoded(self.column, items), rows)

    def of_values(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The same with the item as the matrix has it, float32 [n, width]."""
        return by_class(self._score(self._with(values, rows)))

    def gradient(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Where the lead of wrong answers grows, along the item's own columns [n, width]."""
        assert self.slope is not None
        return self.slope(self._with(values, rows), self.y[rows])[:, self.place]

    def _with(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        x = self.x[rows].copy()
        x[:, self.place] = values
        return x

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Numbers [n] of the answers."""
        if self._decision.task == "binary":
            found: np.ndarray = (probabilities[:, 1] >= self._decision.threshold).astype(np.int64)
            return found
        return self._decision.codes(probabilities)


@dataclass(frozen=True)
class ItemFindings:
    """What is shown in the UI, what the checks say, and what the model card tells, by its title."""

    shown: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Finding] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)


def by_class(scores: np.ndarray) -> np.ndarray:
    """Probabilities [n, K] of scores that are P(positive) [n], or [n, K] already."""
    return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores


def item_findings(
    run: StageRun,
    scorer: ItemScorer,
    declared: ItemDeclaration,
    decision: Decision,
    scores: np.ndarray,
) -> ItemFindings:
    """How items are answered: what is mistaken, what withstood, and in which language.

    Args:
        run: of the evaluation.
        scorer: scores the test rows with other items.
        declared: the product.
        decision: how scores become answers.
        scores: of the test rows as they are, P(positive) [n] or probabilities [n, K].
    """
    column, limits = run.product.request_table.columns[declared.item], declared.robustness
    seed = declared.training.seed
    robust = robustness_of(scorer, column, seed)
    run.say(f"accuracy {robust.mean:.3f} under corruptions; looking for an adversary's changes")
    attacked = attacked_by(scorer, limits.epsilon, seed)
    probabilities = by_class(scores)
    answers = scorer.answers(probabilities)
    found = mistaken(scorer.items, scorer.y, probabilities, answers, decision.classes)
    shown_of = _pictured if column.type == "image" else _listed
    worst = {
        f"attacked/{name}": value for name, value in (attacked.remains if attacked else {}).items()
    }
    finding = withstands(robust, attacked, limits)
    told_of = {
        "mistakes": shown_of(frequent(found), column, "Most frequent mistakes"),
        "surest_mistakes": shown_of(surest(found), column, "Mistakes it is surest of"),
        "robustness": shown.table(robust.table(), digits=3),
        "robustness_curve": shown.markdown(
            plots.as_markdown_image(plots_of_items.robustness(robust), "robustness")
        ),
        **({"adversary": shown.table(attacked.table(), digits=3)} if attacked else {}),
        **shown.numbers({"corrupted/mean": robust.mean, "corrupted/clean": robust.clean, **worst}),
    }
    card = {"Robustness": _for_card(finding, robust.table())}
    checks = {WITHSTANDS.name: finding}
    if isinstance(declared, TextDeclaration):
        frame, checks[LANGUAGES.name] = in_languages(scorer, probabilities, declared)
        told_of["languages"] = shown.table(frame)
        card["Languages"] = _for_card(checks[LANGUAGES.name], frame)
    return ItemFindings(told_of, checks, card)


def _for_card(finding: Finding, table: pl.DataFrame) -> dict[str, Any]:
    return {"words": finding.words, "columns": table.columns, "rows": table.rows()}


def in_languages(
    scorer: ItemScorer, probabilities: np.ndarray, declared: TextDeclaration
) -> tuple[pl.DataFrame, Finding]:
    """Accuracy by the language of the test rows' texts, and whether the encoder knows them."""
    there = np.flatnonzero([item is not None for item in scorer.items])
    right = (scorer.answers(probabilities) == scorer.y)[there]
    found = by_language([scorer.items[place] for place in there], right, declared.languages)
    passed, words = languages_ok(found, declared.languages)
    shares = {f"share_{row['language']}": row["share"] for row in found.to_dicts()}
    return found, Finding(passed, words, shares, warn=True)


def robustness_of(scorer: ItemScorer, column: Column, seed: int) -> Robustness:
    """Accuracy of the test rows' items under corruptions."""
    there = np.flatnonzero([item is not None for item in scorer.items])
    some = there[chosen(len(there), MOST_ROWS[column.type], seed)]
    given = [scorer.items[place] for place in some]

    def answers(items: Sequence[Any]) -> np.ndarray:
        return scorer.answers(scorer.of_items(items, some))

    return measure_robustness(answers, given, scorer.y[some], column, seed)


def attacked_by(scorer: ItemScorer, epsilon: float, seed: int) -> Attacked | None:
    """Accuracy that remains of items that an adversary changes; None where none was tried."""
    kind, width = scorer.column.kind, scorer.column.width
    if kind == "image" and scorer.slope is None and width > _MOST_PIXELS:
        return None
    most = _ATTACKED[kind]
    if kind == "image":
        most = max(_LEAST_ATTACKED, min(most, most * _MOST_PIXELS // width))
    there = np.flatnonzero([item is not None for item in scorer.items])
    some = there[chosen(len(there), most, seed)]
    y, items = scorer.y[some], [scorer.items[place] for place in some]
    clean = _right(scorer, scorer.of_items(items, some), y)
    if kind == "text":
        remains = {"typos": _right(scorer, _mistyped(scorer, items, some, seed), y)}
        may = "up to 3 slips of the keyboard in a text"
        return Attacked(len(some), clean, remains, may, TRIED)
    moved, method = _moved(scorer, _encoded(scorer.column, items), some, epsilon, seed)
    remains = {name: _right(scorer, scorer.of_values(v, some), y) for name, v in moved.items()}
    may = f"each pixel moved by up to {epsilon:g} of white"
    return Attacked(len(some), clean, remains, may, method)


def _mistyped(scorer: ItemScorer, items: Sequence[str], some: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities [n, K] of the texts with the slips that hurt most."""

    def loss(texts: Sequence[str], rows: np.ndarray) -> np.ndarray:
        places = some[rows]
        return attacks.margin_loss(scorer.of_items(texts, places), scorer.y[places])

    return scorer.of_items(attacks.mistyped(items, loss, seed), some)


def _moved(
    scorer: ItemScorer, x: np.ndarray, some: np.ndarray, epsilon: float, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """Pictures [n, width] as each attack leaves them, and how it knew where to go."""

    def loss(values: np.ndarray) -> np.ndarray:
        return attacks.margin_loss(scorer.of_values(values, some), scorer.y[some])

    if scorer.slope is None:
        once, walk = (attacks.estimated_gradient(loss, seed) for _ in range(2))
        steps, method = attacks.STEPS, ESTIMATED
    else:
        once = walk = partial(scorer.gradient, rows=some)
        steps, method = _STEPS, TRUE if scorer.slope.exact else THROUGH
    return {
        "fgsm": attacks.fgsm(x, once, epsilon),
        "pgd": attacks.pgd(x, walk, loss, epsilon, steps),
    }, method


def withstands(robust: Robustness, attacked: Attacked | None, limits: Withstands) -> Finding:
    """Whether accuracy under corruptions and under an adversary is as declared; it warns."""
    least = robust.worst.replace("_", " ")
    average = f"on average {robust.mean:.3f} under corruptions (least under {least})"
    words = [f"Accuracy {robust.clean:.3f}, {average}"]
    low = _below(robust.mean, limits.min_corrupted)
    remains = None
    if attacked is not None:
        remains = min(attacked.remains.values())
        words.append(
            f"{remains:.3f} of {attacked.clean:.3f} remains under an adversary ({attacked.may}; "
            f"{attacked.method})"
        )
        low = low or _below(remains, limits.min_attacked)
    else:
        words.append("no adversary was tried: the pictures are too large to do it by answers alone")
    declared = {
        "min_corrupted": limits.min_corrupted,
        "min_attacked": limits.min_attacked,
    }
    asked = [f"{name} {value:g}" for name, value in declared.items() if value is not None]
    words.append(f"declared: {', '.join(asked)}" if asked else "no limit is declared")
    metadata = {"corrupted": robust.mean, **({} if remains is None else {"attacked": remains})}
    return Finding(not low, "; ".join(words) + ".", metadata, warn=True)


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def _right(scorer: ItemScorer, probabilities: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean(scorer.answers(probabilities) == y))


def _encoded(column: EncodedColumn, items: Sequence[Any]) -> np.ndarray:
    kind = pl.Binary if column.kind == "image" else pl.String
    return column.encode(pl.Series(column.name, list(items), kind))


def _pictured(found: Sequence[Mistake], column: Column, title: str) -> Any:
    if column.personal:
        return shown.markdown(f"{title}: the pictures are personal data")
    picture = plots_of_items.mistakes(found, column.shape, title)
    return shown.markdown(plots.as_markdown_image(picture, title))


def _listed(found: Sequence[Mistake], column: Column, title: str) -> Any:
    rows = [
        {"text": m.item, "is": m.actual, "answered": m.answered, "sure": m.probability, "of": m.of}
        for m in found
        if not column.personal
    ]
    return shown.table(pl.DataFrame(rows)) if rows else shown.markdown(f"{title}: none to show")
