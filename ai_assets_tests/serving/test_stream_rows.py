"""Rows of a stream without a server: what is held, who is given up, and how lines are cut."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_assets.serving.protocols import sockets
from ai_assets.serving.protocols.rows import Rows, lines


async def endless(read: list[int]) -> AsyncIterator[bytes]:
    while True:
        read.append(1)
        yield b"x" * 10
        await asyncio.sleep(0)


def test_nothing_more_is_read_while_answers_are_not_taken():
    """At most what may be held, is under way, waits to begin and is being read."""
    read: list[int] = []

    async def main() -> None:
        async def answer(_: bytes | None) -> dict[str, Any]:
            return {}

        async def send(_: dict[str, Any]) -> None:
            await asyncio.sleep(60)

        rows = Rows(answer, under_way=4, held=100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rows.run(endless(read), send), 0.3)

    asyncio.run(main())

    assert 10 <= len(read) <= 10 + 4 + 3


def test_a_caller_who_takes_no_answer_is_given_up():
    async def main() -> None:
        async def answer(_: bytes | None) -> dict[str, Any]:
            return {}

        async def never(*_: Any) -> None:
            await asyncio.sleep(60)

        async def silent() -> AsyncIterator[bytes]:
            await asyncio.sleep(60)
            yield b""

        taken = Rows(answer, under_way=4, held=100, patience_s=0.1)
        with pytest.raises(ExceptionGroup) as given_up:
            await asyncio.wait_for(taken.run(endless([]), never), 5)
        assert [type(error) for error in given_up.value.exceptions] == [TimeoutError]
        filled = Rows(answer, under_way=1, held=1, patience_s=0.1)
        with pytest.raises(ExceptionGroup):
            await asyncio.wait_for(filled.run(silent(), never, 0.02, never), 5)

    asyncio.run(main())


def test_something_is_sent_while_no_row_comes():
    filled: list[int] = []

    async def main() -> None:
        async def silent() -> AsyncIterator[bytes]:
            await asyncio.sleep(0.2)
            return
            yield b""

        async def fill() -> None:
            filled.append(1)

        async def answer(_: bytes | None) -> dict[str, Any]:
            return {}

        async def send(_: dict[str, Any]) -> None:
            raise AssertionError

        await Rows(answer, under_way=1, held=1).run(silent(), send, 0.02, fill)

    asyncio.run(main())

    assert len(filled) >= 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_body_is_cut(size: int):
    body = b"one\n\n  \ntwo2\nmuch too long\nthree\nlast"

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def main() -> list[bytes | None]:
        return [line async for line in lines(chunks(), 6)]

    assert asyncio.run(main()) == [b"one", b"two2", None, b"three", b"last"]


def test_a_server_starts_without_the_package_of_websockets():
    code = """
import sys
import uvicorn
from ai_assets.serving.protocols.sockets import sockets
config = uvicorn.Config(app=print, ws=sockets())
config.load()
assert "websockets" not in sys.modules, "before"
from uvicorn.server import ServerState
config.ws_protocol_class(config=config, server_state=ServerState(), app_state={})
assert "websockets" in sys.modules, "after"
"""

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_where_the_package_is_absent_there_are_no_websockets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sockets, "_PACKAGE", "no_such_package")

    assert sockets.sockets() == "none"
