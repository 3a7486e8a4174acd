"""What a request must be allowed to ask for, by its path.

What is not listed is closed: reading it needs some key, anything else needs `admin`. A route that
is added and forgotten here is refused to its first caller, not open to everybody.
"""

import re
from dataclasses import dataclass

OPEN = frozenset({"/healthz", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
_SCOPES = {
    "/predict": "predict",
    "/stream": "predict",
    "/explain": "explain",
    "/feedback": "feedback",
    "/metrics": "admin",
    "/debug/profile": "admin",
}
_INFER = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/infer")
_READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Need:
    """What is needed: a key or none, and the scope that it must have, if any."""

    key: bool
    scope: str | None = None


NOTHING, KEY = Need(False), Need(True)
PREDICT, ADMIN = Need(True, "predict"), Need(True, "admin")
_LISTED = {
    **dict.fromkeys(OPEN, NOTHING),
    **{path: Need(True, scope) for path, scope in _SCOPES.items()},
    # What a query asks for is known when it was read: each of its fields then needs its scope.
    "/graphql": KEY,
}
_ROUTES = {path: path[1:].replace("v2/health/", "v2/") for path in _LISTED}
OTHER = "other"


def needed(method: str, path: str) -> Need:
    """What a request needs. `method` is empty for what is not HTTP."""
    listed = _LISTED.get(path)
    if listed is not None:
        return listed
    if _INFER.fullmatch(path):
        return PREDICT
    return KEY if method in _READING else ADMIN


def route_of(path: str) -> str:
    """The name of a path's route in metrics: one of a few, since a caller may make up any path."""
    return _ROUTES.get(path) or ("v2/infer" if _INFER.fullmatch(path) else OTHER)
