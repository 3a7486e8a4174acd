"""Which stretch of time is read from one place: several partitions may share a file."""

from collections.abc import Callable
from datetime import timedelta

from ai_assets.lifecycle.partitions import Partitions, Span
from ai_assets.lifecycle.sources.request import Request

# Of a name that is the same for all partitions: how far they are looked at.
_FARTHEST = timedelta(days=36_525)


def reach(request: Request, partitions: Partitions) -> Span:
    """The time of all partitions in a row that read the place of a request's partition.

    A file a month serves all the days of it. Partitions before the calendar's first and after its
    last count too: what the calendar leaves out on purpose is not lost.

    Args:
        request: of a partition, from a source whose place is a template.
        partitions: how the product is cut.
    """
    place, key = _place(request, request.span, request.partition), str(request.partition)

    def reads_it(by: int) -> bool:
        other = partitions.shift(key, by)
        return _place(request, partitions.span(other), other) == place

    most = _FARTHEST // partitions.longest
    first, last = -_as_far(lambda steps: reads_it(-steps), most), _as_far(reads_it, most)
    return partitions.cover([partitions.shift(key, by) for by in (first, last)])


def _place(request: Request, span: Span | None, key: str | None) -> str:
    source = request.source
    of_key = Request(source, request.table, request.folder, span, key)
    return of_key.filled(source.place or "", source.kind)


def _as_far(holds: Callable[[int], bool], most: int) -> int:
    """For how many steps something holds that does not hold again once it has ended."""
    ended = 1
    while holds(ended):
        ended *= 2
        if ended > most:
            return ended // 2
    kept = ended // 2
    while ended - kept > 1:
        middle = (kept + ended) // 2
        kept, ended = (middle, ended) if holds(middle) else (kept, middle)
    return kept
