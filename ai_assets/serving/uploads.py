"""Files that callers give: as the whole body of a request, and how pictures are unpacked."""

import asyncio
import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from ai_assets.serving.problems import Refused

if TYPE_CHECKING:
    from ai_assets.lifecycle.schema.tables import Table

Given = TypeVar("Given")
Read = TypeVar("Read")
_OF_TYPE = {"image": "image/", "text": "text/plain"}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_DESCRIBED: dict[str, dict[str, Any]] = {
    "image": {"image/png": _FILE, "image/jpeg": _FILE},
    "text": {"text/plain": {"schema": {"type": "string"}}},
}


def as_json_body(body: bytes, content_type: str, table: "Table") -> bytes:
    """The body as JSON: `image/png` or `text/plain` becomes the row that has nothing else.

    Args:
        body: as it came.
        content_type: what the caller says it is.
        table: the request table.

    Raises:
        Refused: with 415; the request has no one column of such a type.
    """
    # Names of media types have no case (RFC 9110, 8.3.1).
    media = content_type.strip().lower()
    asked = next((kind for kind in _OF_TYPE if media.startswith(_OF_TYPE[kind])), None)
    if asked is None:
        return body
    names = _of_type(table, asked)
    if len(names) != 1:
        raise Refused(
            415, f"{content_type} is for products of one {asked} a request; send JSON instead."
        )
    if asked == "image":
        given = base64.b64encode(body).decode()
    else:
        try:
            given = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(400, f"The text must be UTF-8, but {error}.") from error
    return json.dumps({names[0]: given}, ensure_ascii=False).encode()


def described_bodies(table: "Table") -> dict[str, Any]:
    """What OpenAPI says of bodies that are files: media types of a table with one such column."""
    kinds = [kind for kind in _DESCRIBED if len(_of_type(table, kind)) == 1]
    return {media: said for kind in kinds for media, said in _DESCRIBED[kind].items()}


def _of_type(table: "Table", kind: str) -> list[str]:
    return [name for name, column in table.columns.items() if column.type == kind]


class Unpacking:
    """Reads what may hold pictures beside the loop, one request at a time.

    A file of some kilobytes may unpack to millions of pixels, for a second and in hundreds of
    megabytes.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "pictures")

    async def __call__(self, reading: Callable[[Given], Read], given: Given) -> Read:
        """What reading gives."""
        loop, context = asyncio.get_running_loop(), copy_context()
        return await loop.run_in_executor(self._thread, context.run, reading, given)

    def close(self) -> None:
        """Read no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
