"""When a changed input is called drift, as declared."""

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class Drift(Section):
    """When a changed input is called drift. Judged per column, over all rows of a partition.

    Limits are sizes of an effect. What chance does to the partition's rows among as many columns is
    added to them, so that few rows or many columns raise no alarm.
    """

    psi: float = Field(
        default=0.2,
        gt=0,
        description="Population stability index from which a column has drifted. By custom below "
        "0.1 is stable, 0.1 to 0.2 moving, above 0.2 drifted.",
    )
    columns: dict[str, float] = Field(
        default_factory=dict, description="Another psi limit for some columns, by name."
    )
    missing: float = Field(
        default=0.1,
        gt=0,
        description="Change of the share of missing values from which a column has drifted.",
    )
    new_categories: float = Field(
        default=0.05,
        gt=0,
        description="Share of rows of categories unknown to the reference from which a column has "
        "drifted.",
    )
    joint: float = Field(
        default=0.2,
        gt=0,
        description="Change from which columns have drifted together: of the distance at which "
        "rows lie from the reference's, relative; or of the share of a column's variance that the "
        "other columns do not tell.",
    )
    embedding: float = Field(
        default=0.15,
        gt=0,
        description="Of images and texts: distance of what the model's last layer reads, in "
        "standard deviations of an item, from which they have drifted (maximum mean discrepancy).",
    )
    ignore: list[str] = Field(
        default_factory=list,
        description="Columns that are measured and never called drifted, such as the weekday where "
        "partitions are days.",
    )
    min_rows: int = Field(
        default=500,
        ge=1,
        description="Fewer rows than this are measured but never called drifted: chance alone "
        "moves them.",
    )
    sample: int = Field(
        default=5_000, ge=100, description="Most rows that the report people read is drawn from."
    )
    seed: int = Field(default=0, description="Seed of that sample.")

    def limit(self, column: str) -> float:
        """The psi from which the column has drifted."""
        return self.columns.get(column, self.psi)
