"""What is done with items that are nearly the same, as declared."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from ai_assets.lifecycle.schema.section import Section


class NearDuplicates(Section):
    """Items that nearly repeat another. If one is learned from and its copy judges, the model
    looks better than it is; so of each such group one stays and the others go to `rejected`."""

    within: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="How much two items of one content may differ. Of images: their difference in "
        "the part of the picture where it is largest, as a share of the picture's contrast. Of "
        "texts: the share of their pieces of 5 characters that only one has; upper case and "
        "punctuation do not count, and other numbers make another text. 0 finds copies only.",
    )
    keep: Literal["first", "all"] = Field(
        "first",
        description="Which of several that agree on the label stays: the first one that has a "
        "label, or all, which looks for none. What is rejected is neither learned from nor scored.",
    )
    conflicts: Literal["none", "first", "each"] = Field(
        "none",
        description="Which of several that have different labels stay: none, since nobody knows "
        "which is right; the first; or the first of each label.",
    )


@dataclass(frozen=True)
class Near:
    """What to look for in one table.

    Attributes:
        item: The column with the items, of type image or text.
        labels: Columns of the table that the label is made of; none where it is told later.
        declared: How near, and what stays.
    """

    item: str
    labels: tuple[str, ...]
    declared: NearDuplicates
