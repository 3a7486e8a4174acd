"""When a finding counts as evidence, as declared."""

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class Causes(Section):
    """Limits from which a finding names a cause. The defaults suit most tables."""

    min_rows: int = Field(
        default=200, ge=50, description="Fewer rows than this are never judged: chance moves them."
    )
    nulls: float = Field(
        default=0.05, gt=0, lt=1, description="Rise of a column's share of missing values."
    )
    nulls_odds: float = Field(
        default=4.5,
        gt=1,
        description="Factor by which the odds of a missing value must also change: columns that "
        "are often empty vary more.",
    )
    duplicates: float = Field(
        default=0.02, gt=0, lt=1, description="Rise of the share of rows whose key is there twice."
    )
    volume: float = Field(
        default=0.25, gt=0, lt=1, description="Rows a day, as a share of the reference's."
    )
    gap: float = Field(
        default=3.0,
        gt=1,
        description="Longest time without a row, as a multiple of the reference's.",
    )
    stuck_share: float = Field(
        default=0.25, gt=0, lt=1, description="Rise of the share of one number."
    )
    stuck_rare: float = Field(
        default=0.12,
        gt=0,
        lt=1,
        description="The same of a number of many values, where the share is three times as large.",
    )
    stuck_run: float = Field(
        default=3.0,
        gt=1,
        description="Longest run of one value in time order, as a multiple of the longest in the "
        "reference or, if longer, of what chance gives.",
    )
    unit_far: float = Field(
        default=0.5,
        gt=0,
        description="Mean distance of quantiles from the reference's, in standard deviations, from "
        "which a change of unit is looked for.",
    )
    unit_near: float = Field(
        default=0.2, gt=0, description="Largest such distance that a conversion may leave."
    )
    unit_gain: float = Field(
        default=4.0, gt=1, description="Factor by which the conversion must lie nearer."
    )
    relation_share: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Rise of the share of rows that break a relation between columns.",
    )
    relation_mended: float = Field(
        default=0.8, gt=0, le=1, description="Share of those rows that a conversion must mend."
    )
    relation_wider: float = Field(
        default=2.0,
        gt=1,
        description="Factor by which the residual of such a relation must have grown to be drift.",
    )
    clock_same: float = Field(
        default=0.8, gt=0, lt=1, description="Correlation of the day's profile once shifted back."
    )
    clock_gain: float = Field(
        default=0.3, gt=0, lt=2, description="By how much shifting back must raise it."
    )
    outside: float = Field(
        default=0.001, ge=0, lt=1, description="Share of rows with times outside the partition."
    )
    residual: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Mean of label minus calibrated score over all rows that is no chance. Of a "
        "regression: as a share of twice the usual error, as is `segment_residual`.",
    )
    segment_residual: float = Field(
        default=0.2, gt=0, lt=1, description="The same within a segment, beside the other rows."
    )
    segment_share: float = Field(
        default=0.02, ge=0, lt=1, description="Least share of the rows that a segment must hold."
    )
    slope: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Slope of the labels' log odds on the score's; 1 is calibrated, 0 "
        "unrelated. A month ahead 0.6 to 0.8 is usual.",
    )
    error: float = Field(
        default=1.25,
        gt=1,
        description="Of a regression: factor by which its error has grown beyond that on the "
        "bundle's test rows.",
    )
    z: float = Field(
        default=5.0,
        gt=0,
        description="Standard errors, by blocks of days, that labels must be off.",
    )
    important: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Severity of covariate drift, weighted by importance, from which it, rather "
        "than a changed concept, is why labels contradict scores.",
    )
