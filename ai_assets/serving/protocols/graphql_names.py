"""Names of columns as GraphQL allows them: letters, digits and underscores of ASCII."""

import re
import unicodedata
from collections.abc import Iterable

_NOT_ALLOWED = re.compile(r"[^_0-9A-Za-z]")


def graphql_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A name for each, its own where that is one. No two are alike, and none is taken.

    Two leading underscores are GraphQL's own, so they become one.
    """
    found: dict[str, str] = {}
    used = set(taken)
    # Those that can keep their names do, whatever the order.
    for name in sorted(names, key=lambda name: _plain(name) != name):
        wanted = candidate = _plain(name)
        number = 2
        while candidate in used:
            candidate = f"{wanted}_{number}"
            number += 1
        found[name] = candidate
        used.add(candidate)
    return found


def _plain(name: str) -> str:
    without_accents = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    kept = without_accents if without_accents.strip() else "column"
    plain = _NOT_ALLOWED.sub("_", kept)
    plain = re.sub(r"^__+", "_", plain)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain
