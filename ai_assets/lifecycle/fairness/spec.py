"""What a product declares about groups of people: the `fairness:` part of its YAML."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from ai_assets.lifecycle.errors import did_you_mean
from ai_assets.lifecycle.schema.section import Section

Criterion = Literal["demographic_parity", "equal_opportunity", "equalized_odds"]
Mitigation = Literal["none", "reweighing", "reductions"]
CRITERIA: Mapping[Criterion, tuple[str, ...]] = {
    "demographic_parity": ("selection_rate",),
    "equal_opportunity": ("true_positive_rate",),
    "equalized_odds": ("true_positive_rate", "false_positive_rate"),
}
"""The rates whose difference between groups a criterion looks at."""
EVENTS: Mapping[str, float | None] = {
    "selection_rate": None,
    "true_positive_rate": 1.0,
    "false_positive_rate": 0.0,
}
"""The label of the rows that such a rate is a share of; None for all rows."""

MOST_GROUPS, MOST_COLUMNS = 20, 14
"""Groups of a column, and columns. Those of a row are one Int64: 20**14 < 2**63 - 1 < 20**15."""


class Fairness(Section):
    """Groups of people that a model is to treat alike, and how alike."""

    columns: list[str] = Field(
        min_length=1,
        max_length=MOST_COLUMNS,
        description="Protected columns of the request table, whose values are groups of people.",
    )
    metric: Criterion = Field(
        "equal_opportunity",
        description="What is to be alike between the groups of a column. demographic_parity: the "
        "share that is answered positive. equal_opportunity: of those who are positive, the share "
        "that is found (true positive rate; Hardt et al. 2016). equalized_odds: that and the false "
        "positive rate, the larger difference of the two.",
    )
    max_difference: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Largest difference between two groups of a column, as a share; the gate "
        "refuses what has a larger one.",
    )
    mitigation: Mitigation = Field(
        "none",
        description="reweighing: training rows weigh as if the groups, of all columns together, "
        "and the label had nothing to do with each other (Kamiran and Calders 2012). reductions: "
        "training rows weigh, and some teach the other label, so that `metric` differs by no more "
        "than `max_difference`, as far as held-out training rows tell (Agarwal et al. 2018); for "
        "tables. Nothing is asked of callers for either. The evaluation shows what it changes.",
    )
    min_rows: int = Field(
        50,
        ge=10,
        description="Fewer test rows say nothing of a group: it is listed, not judged, and the "
        "check says so. Of fewer rows whose rate counts `reductions` learns nothing.",
    )
    features: list[str] = Field(
        default_factory=list,
        description="Those of the columns that models may learn from. The others only judge: a "
        "feature that is made of one stops the run.",
    )

    @model_validator(mode="after")
    def _features_are_columns(self) -> "Fairness":
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns must be named once each, but got {self.columns}.")
        for name in self.features:
            if name not in self.columns:
                raise ValueError(
                    f"features must name some of columns, {', '.join(self.columns)}, but got "
                    f"'{name}'.{did_you_mean(name, self.columns)}"
                )
        return self

    @property
    def events(self) -> tuple[float | None, ...]:
        """The labels of the rows that each rate of the criterion is a share of."""
        return tuple(EVENTS[rate] for rate in CRITERIA[self.metric])

    @property
    def only_judging(self) -> list[str]:
        """The columns that no feature may be made of."""
        return [name for name in self.columns if name not in self.features]
