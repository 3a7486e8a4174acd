"""A request on its way to its answer. Light: BentoML's supervisor imports it too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from starlette.requests import Request

Role = Literal["stable", "candidate", "shadow"]


@dataclass(frozen=True)
class Asked:
    """What is known of a request before it is answered.

    Attributes:
        route: which route was asked.
        began: `time.perf_counter` when the request came.
        key_id: who asks: the id of the API key; None where no access control is.
        given: JSON of the rows, where they came as such: a row, a list, or `{"rows": [...]}`.
        role: what the bundle that answers is to the release.
    """

    route: str
    began: float
    key_id: str | None = None
    given: bytes | None = None
    role: Role = "stable"


def key_id(request: "Request") -> str | None:
    """Who asks, where access control has found out."""
    found: str | None = getattr(request.state, "key_id", None)
    return found
