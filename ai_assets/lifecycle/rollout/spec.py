"""What a product declares about its releases: the `rollout:` part of its YAML."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ai_assets.lifecycle.errors import must_be
from ai_assets.lifecycle.schema.durations import Duration, parse_duration
from ai_assets.lifecycle.schema.section import Section

Mode = Literal["direct", "canary", "shadow", "ab", "bandit"]
Share = Annotated[float, Field(gt=0, le=1)]


class Limits(Section):
    """What a candidate may do worse before it is taken back. A limit of null is none."""

    error_rate: float | None = Field(
        0.01, ge=0, le=1, description="Largest share of the candidate's requests that may fail."
    )
    error_rate_above_stable: float | None = Field(
        0.005,
        ge=0,
        le=1,
        description="By how much that share may exceed the stable bundle's over the same time.",
    )
    latency_p99_ms: float | None = Field(
        None,
        gt=0,
        description="Longest time, in milliseconds, that 99 of 100 of its answers may take.",
    )
    estimated_loss: float | None = Field(
        None,
        ge=0,
        description="By how much its log loss, estimated from all scores and borne out by the "
        "outcomes known so far, may exceed the stable bundle's, in nats. Broken where the whole "
        "interval lies beyond, which errs in one of a hundred steps, however often it is looked "
        "at. Below 200 known outcomes of both it sees nothing: scores alone tell how sure a bundle "
        "is, not whether rightly.",
    )
    realised_loss: float | None = Field(
        None,
        ge=0,
        description="The same over rows whose outcome callers have told, from 30 rows of both on. "
        "Rows of one key count as one.",
    )


class Rollout(Section):
    """How a challenger that a decision asked for, and that passed its gate, is released.

    Whatever the mode, a person may try a candidate in any other by the asset `release`.
    """

    mode: Mode = Field(
        "direct",
        description="direct: it takes over at once. canary: it gets a share of the traffic that "
        "grows by itself, and then takes over. shadow: it scores what the stable bundle scores, "
        "and nobody gets its answers. ab: it gets a fixed share. bandit: feedback decides its "
        "share. After a shadow, ab or bandit a person promotes or drops it; a broken limit drops "
        "it in any of them.",
    )
    steps: list[Share] = Field(
        default=[0.05, 0.25, 0.5],
        min_length=1,
        description="Shares of the traffic (above 0, at most 1) that a canary gets one after the "
        "other. ab and bandit begin with the first.",
    )
    bake: Duration = Field(
        default_factory=lambda: parse_duration("30 minutes"),
        description="How long a step lasts at least.",
    )
    min_answers: int = Field(
        200, ge=1, description="Requests to the candidate that a step waits for at least."
    )
    limits: Limits = Field(
        default_factory=Limits, description="What takes the candidate back, during a step at once."
    )

    @field_validator("steps")
    @classmethod
    def _widening(cls, steps: list[float]) -> list[float]:
        if any(later <= share for share, later in pairwise(steps)):
            raise ValueError(must_be("steps", "each larger than the one before", steps))
        return steps

    def first_split(self, mode: str) -> float:
        """The share that a candidate gets to begin with; a shadow answers nobody."""
        return 0.0 if mode == "shadow" else self.steps[0]

    def next_split(self, split: float) -> float | None:
        """The step after a share; None after the last."""
        return next((share for share in self.steps if share > split), None)
