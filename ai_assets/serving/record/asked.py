"""A request on its way to its answer. Light: BentoML's supervisor imports it too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from starlette.requests import Request

Role = Literal["stable", "candidate", "shadow"]


@dataclass(frozen=True)
class Split:
    """How rows were shared out between the stable bundle and a candidate when they came.

    Attributes:
        candidate: tag of the candidate, which salts the assignment.
        share: a row whose number in [0, 1) lies below it is the candidate's.
        mode: as what the candidate was tried.
        by: what the number is made of: the row's `key`, or the id of the `request`.
        fell_back: the candidate should have answered, but could not, so the stable bundle did.
    """

    candidate: str
    share: float
    mode: str
    by: Literal["key", "request"] = "key"
    fell_back: bool = False


@dataclass(frozen=True)
class Asked:
    """What is known of a request before it is answered.

    Attributes:
        route: which route was asked.
        began: `time.perf_counter` when the request came.
        key_id: who asks: the id of the API key; None where no access control is.
        given: JSON of the rows, where they came as such: a row, a list, or `{"rows": [...]}`.
        role: what the bundle that answers is to the release.
        split: how rows are shared out; None where one bundle answers everything.
    """

    route: str
    began: float
    key_id: str | None = None
    given: bytes | None = None
    role: Role = "stable"
    split: Split | None = None


def key_id(request: "Request") -> str | None:
    """Who asks, where access control has found out."""
    found: str | None = getattr(request.state, "key_id", None)
    return found
