"""What answers cost, as declared: the `costs:` part of `training:`."""

import math
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator

from ai_assets.lifecycle.errors import must_be
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.label import Word
from ai_assets.lifecycle.schema.section import Section


class TwoCosts(Section):
    """What the answers of a binary task cost, in any one unit. A rightly negative one is free."""

    missed: float = Field(description="Cost of a negative answer where the positive one is right.")
    false_alarm: float = Field(
        description="Cost of a positive answer where the negative one is right."
    )
    hit: float | None = Field(None, description="Gain of a rightly positive answer. Default: none.")

    @field_validator("missed", "false_alarm", "hit")
    @classmethod
    def _is_a_cost(cls, given: float | None) -> float | None:
        return None if given is None else a_cost(given)

    def matrix(self) -> CostMatrix:
        """Cost by label and answer, negative first."""
        return (0.0, self.false_alarm), (self.missed, -(self.hit or 0.0))


ClassCosts = dict[Word, dict[Word, float]]
"""What it costs to answer a class (inner name) where another (outer name) is right."""


def _kind(given: Any) -> str:
    nested = isinstance(given, dict) and any(isinstance(part, dict) for part in given.values())
    return "several" if nested else "two"


AnyCosts = Annotated[
    Annotated[TwoCosts, Tag("two")] | Annotated[ClassCosts, Tag("several")], Discriminator(_kind)
]


def a_cost(given: float) -> float:
    """The cost.

    Raises:
        ValueError: it is none: an answer that costs nothing, or is paid for, would always be given.
    """
    if not (math.isfinite(given) and given > 0):
        raise ValueError(must_be("a cost", "a number above 0", given))
    return given


def class_problems(costs: ClassCosts, classes: tuple[str, ...]) -> list[str]:
    """What is wrong with costs of these classes, a sentence each."""
    found = []
    for right, answers in costs.items():
        for name in (right, *answers):
            if name not in classes:
                found.append(must_be("a class in training.costs", classes, name))
        if right in answers:
            found.append(f"training.costs: to answer {right!r} where it is right costs nothing.")
    return found


def matrix_of(costs: TwoCosts | ClassCosts | None, classes: tuple[str, ...]) -> CostMatrix | None:
    """Cost by label and answer, in the order of the classes, 1 where nothing is said of a pair;
    None where no costs are declared."""
    if costs is None:
        return None
    if isinstance(costs, TwoCosts):
        return costs.matrix()
    return tuple(
        tuple(
            0.0 if right == answer else costs.get(right, {}).get(answer, 1.0) for answer in classes
        )
        for right in classes
    )


def best_threshold(costs: CostMatrix) -> float:
    """P(positive) from which on the positive answer is expected to cost less.

    Elkan (2001), "The foundations of cost-sensitive learning", equation 2: however rare positives
    are, as long as the scores are probabilities.
    """
    (right, alarm), (missed, hit) = costs
    return (alarm - right) / (alarm - right + missed - hit)
