"""How often sensors look."""

import os

from ai_assets.lifecycle.errors import DeclarationError, must_be

VARIABLE = "AI_ASSETS_TICK_SECONDS"
USUAL = 15


def tick_seconds() -> int:
    """Seconds between two looks of a sensor; a replay, which waits for each, looks more often.

    Raises:
        DeclarationError: the variable is not a whole number of seconds.
    """
    given = os.environ.get(VARIABLE, str(USUAL))
    if not given.isdigit() or not int(given):
        raise DeclarationError(must_be(VARIABLE, "a whole number of seconds, at least 1", given))
    return int(given)
