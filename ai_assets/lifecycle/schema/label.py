"""What is predicted, as declared: the `label:` part of a product's YAML."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from ai_assets.lifecycle.schema.durations import Duration, parse_duration
from ai_assets.lifecycle.schema.section import Section

_TASK_OF = {
    "classes": "multiclass",
    "positive": "binary",
    "negative": "binary",
    "interval": "regression",
    "objective": "regression",
}
"""The task that each part belongs to; the others belong to all."""


def word_of(given: Any) -> str:
    """A class as the text that is answered: `true` rather than `True`, `3` rather than `3.0`."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float) and given.is_integer():
        return str(int(given))
    return str(given)


# YAML reads bare numbers, and words such as yes, as other things than texts.
Word = Annotated[
    str,
    BeforeValidator(word_of),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class Label(Section):
    """What is predicted."""

    sql: str = Field(
        description="SQL over the columns of the request table: true for the positive class, or of "
        "several classes the class, of a regression the number. A null label is not learned from."
    )
    task: Literal["binary", "multiclass", "regression"] = Field(
        "binary", description="Kind of target."
    )
    classes: list[Word] | None = Field(
        None,
        description="The classes of a multiclass task, in the order of reports. Default: the "
        "allowed values of the column, where `sql` is the name of one.",
    )
    arrives_after: Duration = Field(
        default_factory=lambda: parse_duration("0 days"),
        description="How long after the event the outcome is known.",
    )
    positive: str = Field("yes", description="Word for the positive class, in served answers.")
    negative: str | None = Field(
        None, description="Word for the other class; default: not <positive>."
    )

    interval: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Of a regression: the share of outcomes that the interval beside each answer "
        "is to hold, such as 0.9. Of counts it widens with the root of the answer. Default: none.",
    )

    objective: Literal["squared", "poisson"] | None = Field(
        None,
        description="Of a regression: what families learn by. squared (the default): any numbers. "
        "poisson: counts of something, never below 0, whose spread grows with them; answers and "
        "intervals are then never below 0 either, and Poisson deviance decides.",
    )

    @property
    def learned(self) -> Literal["binary", "multiclass", "regression", "count"]:
        """The task as families learn it."""
        return "count" if self.objective == "poisson" else self.task

    @field_validator("classes")
    @classmethod
    def _different(cls, given: list[str] | None) -> list[str] | None:
        if given is not None:
            twice = sorted({word for word in given if given.count(word) > 1})
            if twice or len(given) < 2:
                what = f"{twice[0]!r} twice" if twice else given
                raise ValueError(f"classes must be two or more different words, but got {what}.")
        return given

    @model_validator(mode="after")
    def _words_of_its_task(self) -> "Label":
        if self.task == "binary" and self.classes is not None:
            raise ValueError(
                "classes belong to task 'multiclass', but task is 'binary'; a binary task "
                "has positive and negative."
            )
        for name, task in _TASK_OF.items():
            given = name in self.model_fields_set and getattr(self, name) is not None
            if given and task != self.task:
                raise ValueError(f"{name} belongs to task '{task}', but task is '{self.task}'.")
        return self
