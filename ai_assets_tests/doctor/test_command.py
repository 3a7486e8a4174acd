"""The command: a line a check, an honest exit code, JSON."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ai_assets.doctor.__main__ import examine, main
from ai_assets.doctor.line import as_text, ok, problem, warning
from ai_assets.doctor.place import Place


def asked(place: Place, port: int, *more: str) -> "subprocess.CompletedProcess[str]":
    """The command, as a person starts it, over a checkout."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-m", "ai_assets.doctor", "--project", str(place.project),
         "--ports", str(port), *more],
        cwd=place.home, env={**place.given, "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture
def whole(place: Place, repo_root: Path) -> Place:
    """A checkout with its code too, so that its definitions load."""
    for name in ("__init__.py", "definitions.py"):
        (place.project / "ai_assets" / name).write_text("", encoding="utf-8")
    loads = "from ai_assets_of import defs\n"
    (place.project / "ai_assets" / "definitions.py").write_text(loads, encoding="utf-8")
    one = "import dagster as dg\n@dg.definitions\ndef defs():\n    return dg.Definitions()\n"
    (place.project / "ai_assets_of.py").write_text(one, encoding="utf-8")
    return place


def test_a_checkout_without_a_fault_has_a_line_a_check_and_ends_with_0(
    whole: Place, free_port: int
) -> None:
    done = asked(whole, free_port)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f"problem: 0, warning: 0, ok: {len(lines) - 2}"
    assert all(line.startswith("ok ") for line in lines[:-2])
    assert len(lines) - 2 >= 20


def test_a_fault_ends_the_command_with_1_and_json_says_the_same(
    whole: Place, free_port: int
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        done = asked(whole, free_port, "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 1 and told["healthy"] is False
    (bad,) = [one for one in told["checks"] if one["mood"] == "problem"]
    assert bad["check"] == f"port {free_port}"
    assert bad["found"].startswith(f"Taken by process {os.getpid()} (")
    assert bad["do"].startswith("make dev PORT=")


def test_a_warning_alone_does_not_end_the_command_with_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: Place
) -> None:
    def warns(_: Place):
        yield warning("clock", "It is late.", "go home")

    monkeypatch.setattr("ai_assets.doctor.__main__.CHECKS", {"clock": warns})

    assert main(["--project", str(place.project)]) == 0
    assert capsys.readouterr().out.startswith("warning  clock  It is late. Do: go home\n")


def test_a_check_that_cannot_be_made_is_a_problem_and_the_others_are_made(place: Place) -> None:
    def breaks(_: Place):
        raise RuntimeError("no such thing")
        yield

    def fine(_: Place):
        yield ok("two", "Fine.")

    first, second = examine(place, {"one": breaks, "two": fine})

    assert (first.check, first.mood) == ("one", "problem")
    assert first.found == "It could not be checked: RuntimeError: no such thing"
    assert second == ok("two", "Fine.")


def test_what_is_said_over_several_lines_is_one_line() -> None:
    text = as_text([problem("disk", "full\n  of\nthings", "make room")])

    assert text.splitlines()[0] == "problem  disk  full of things Do: make room"
