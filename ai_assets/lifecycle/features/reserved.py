"""Names that the training set keeps for itself: no feature may have one of them."""

from collections.abc import Iterable

from ai_assets.lifecycle.errors import DeclarationError

PROTECTED = "_protected"
"""The number of the groups of people that a row is of: see `fairness.groups`."""

ROW_COLUMNS = ("_row_id", "_group", PROTECTED, "event_time", "known_at", "label", "split")
"""What stands beside the features of a row in the training set."""


def check_feature_names(names: Iterable[str], file: str) -> None:
    """Refuse features that the training set could not hold beside its own columns.

    Args:
        names: of the features, without `_row_id`.
        file: of the SQL that gives them, for the message.

    Raises:
        DeclarationError: a name is taken.
    """
    if taken := [name for name in names if name in ROW_COLUMNS]:
        one = taken[0]
        raise DeclarationError(
            f"{file} must not call a feature {', '.join(taken)}: the training set has a column of "
            f'that name. Give it another one, such as "{one}" AS {one.strip("_")}_given.'
        )
