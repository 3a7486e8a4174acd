"""The servers that tests start end with their block."""

import threading
from pathlib import Path

import httpx
import pytest

from ai_assets_tests.http_servers import file_server


def test_a_server_answers_within_its_block_and_is_gone_after_a_failure_in_it(tmp_path: Path):
    (tmp_path / "said.txt").write_text("whole")
    running = set(threading.enumerate())

    with pytest.raises(ZeroDivisionError), file_server(tmp_path) as address:
        assert httpx.get(f"{address}/said.txt").text == "whole"
        listening = set(threading.enumerate()) - running
        raise ZeroDivisionError

    assert listening
    assert not any(thread.is_alive() for thread in listening)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/said.txt")
