"""What benchmarks compute beside measuring, and that none of them is left behind by the package."""

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ai_assets_tests.http_servers import served

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
TOLD = [
    FOLDER.parent / "README.md",
    FOLDER.parent / "Makefile",
    *FOLDER.parent.glob("docs/**/*.md"),
]
TRY_ALL = """
import contextlib, importlib, inspect, io, json, sys
faults = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        if "argparse" in inspect.getsource(module):
            sys.argv = [name, "--help"]
            with contextlib.redirect_stdout(io.StringIO()):
                module.main()
            faults[name] = "--help began the work"
    except SystemExit as end:
        if end.code:
            faults[name] = f"--help ended with {end.code}"
    except Exception as error:
        faults[name] = f"{type(error).__name__}: {error}"
print(json.dumps(faults))
"""
"""Imports the named modules, and asks those that parse arguments for `--help`."""


def benchmark(name: str) -> ModuleType:
    """A module of the folder of benchmarks."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wrk() -> ModuleType:
    """The module that makes load."""
    return benchmark("wrk")


@pytest.mark.parametrize(
    ("met", "ends"),
    [([True, True], 0), ([True, False], 1), ([True, None], 0), ([None, False], 1), ([None], 0)],
)
def test_a_missed_goal_ends_a_benchmark_with_1_and_a_figure_without_one_does_not(
    met: list[bool | None], ends: int, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    # dataclasses look their module up by its name
    monkeypatch.setitem(sys.modules, "figures", figures := benchmark("figures"))
    rows = [figures.Figure(f"row {i}", "2", "1", 2.0, met=judged) for i, judged in enumerate(met)]

    assert figures.report(rows) == ends

    told = [line.split()[5:] for line in capsys.readouterr().out.splitlines()[1:]]
    words: dict[bool | None, list[str]] = {True: ["yes"], False: ["NO"], None: []}
    assert told == [words[judged] for judged in met]


@pytest.mark.parametrize(("share", "answer_ms"), [(0.5, 0.0), (0.5, 8.0), (0.7, 5.0)])
def test_callers_that_wait_ask_for_the_share_that_was_wanted(
    wrk: ModuleType, share: float, answer_ms: float
) -> None:
    most = 1000.0

    def ask(pause_ms: float):
        rate = 1000 * wrk.CONNECTIONS / (pause_ms + answer_ms)
        return wrk.Load(round(rate * 1000), 1000.0, 1, 1, 0, 0)

    pause, first = wrk.paced(ask, most, share)

    assert ask(pause).rate == pytest.approx(share * most, rel=1e-3)
    assert first.rate == pytest.approx(1000 * wrk.CONNECTIONS / (64 * 0.5 / share + answer_ms))
    assert (first.rate < share * most) == (answer_ms > 0)


class Numbering(BaseHTTPRequestHandler):
    """Gives each answer an id, but every tenth; refuses every twentieth."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    numbers, given = itertools.count(1), list[str]()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.02)
        number = next(self.numbers)
        name = f"id-{number}"
        answer = {"predictions": [{"prediction_id": name} if number % 10 else {}]}
        body = json.dumps(answer).encode()
        if number % 20:
            self.given.append(name)
        self.send_response(200 if number % 20 else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_load_that_keeps_ids_has_those_of_all_answers(wrk: ModuleType, tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("no wrk on this machine: install the package 'wrk'")
    ids = tmp_path / "ids"
    with served(Numbering) as address:
        found = wrk.load(
            int(address.rpartition(":")[2]), "/", ["{}"], seconds=1, pause_ms=5, strict=False,
            ids=ids,
        )  # fmt: skip
    kept = ids.read_text().split()
    asked = next(Numbering.numbers) - 1
    without = sum(name.endswith("0") for name in Numbering.given)

    assert asked >= 40
    assert (found.answers, found.refused, found.broken) == (asked, asked // 20, 0)
    assert found.seconds == pytest.approx(1, abs=0.2)
    assert sorted(kept) == sorted(
        "none" if name.endswith("0") else name for name in Numbering.given
    )
    assert wrk.apart(kept, Numbering.given) == (without, without)


def test_ids_that_only_callers_or_only_a_log_have_are_told_apart(wrk: ModuleType) -> None:
    assert wrk.apart(["a", "b"], ["b", "a"]) == (0, 0)
    assert wrk.apart(["a", "b", "lost"], ["a", "b"]) == (1, 0)
    assert wrk.apart(["a"], ["a", "unread", "a"]) == (0, 2)
    assert wrk.apart(["a", "a"], ["a"]) == (1, 0)
    assert wrk.apart(["changed"], ["a"]) == (1, 1)


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module that asks by the standard protocols, with those that it imports beside it."""
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    yield benchmark("protocols")
    for name in set(sys.modules) - before:
        if (file := getattr(sys.modules[name], "__file__", None)) and FOLDER in Path(file).parents:
            del sys.modules[name]


def told_of_protocols(protocols: ModuleType, seconds: float, rates: list[float]) -> list[Any]:
    """Name, goal and whether it is met, of measurements that are alike in each case."""
    calls = {"ready vectors, gRPC": (seconds, 0.5), "raw columns, gRPC": (seconds, 0.5)}
    figures = protocols.figures_of(calls, dict.fromkeys(protocols.ASKED, rates))
    return [(one.name, one.goal, one.met) for one in figures]


@pytest.mark.parametrize(
    ("seconds", "rates", "met"),
    [
        (1.0, [150.0, 100.0, 1.0], (True, True)),
        (1.0, [149.0, 100.0, 300.0], (True, False)),
        (1.01, [150.0, 100.0, 300.0], (False, True)),
        (1.01, [100.0, 150.0, 1.0], (False, False)),
    ],
)
def test_grpc_has_a_goal_beside_lightgbm_and_beside_json_as_one_client_asks(
    protocols: ModuleType, seconds: float, rates: list[float], met: tuple[bool, bool]
) -> None:
    of_lightgbm, of_rest = met

    assert told_of_protocols(protocols, seconds, rates) == [
        ("10,000 ready vectors, gRPC", ">= 0.5 of LightGBM", of_lightgbm),
        ("10,000 raw columns, gRPC", ">= 0.5 of LightGBM", of_lightgbm),
        ("100 ready vectors, gRPC against REST JSON, tritonclient", ">= 1.5", of_rest),
        ("100 ready vectors, gRPC against REST binary, tritonclient", "", None),
        ("100 ready vectors, gRPC against REST JSON, the server alone", "", None),
        ("100 ready vectors, gRPC against REST binary, the server alone", "", None),
        ("100 raw columns, gRPC against REST JSON, tritonclient", "", None),
        ("100 raw columns, gRPC against REST binary, tritonclient", "", None),
        ("100 raw columns, gRPC against REST JSON, the server alone", "", None),
        ("100 raw columns, gRPC against REST binary, the server alone", "", None),
    ]


def test_what_protocols_are_told_to_give_is_what_was_measured(protocols: ModuleType) -> None:
    rates = {("ready vectors", "tritonclient"): [30.0, 20.0, 40.0]}
    many, json_rows, binary_rows = protocols.figures_of({"raw columns": (2.0, 1.0)}, rates)

    assert (many.ours, many.other, many.ratio) == ("5,000 rows/s", "10,000 rows/s", 0.5)
    assert (json_rows.ours, json_rows.other, json_rows.ratio) == (
        "3,000 rows/s", "2,000 rows/s", 1.5,
    )  # fmt: skip
    assert (binary_rows.other, binary_rows.ratio) == ("4,000 rows/s", 0.75)


def test_each_way_to_ask_a_protocol_is_asked_over_grpc_and_both_forms_of_rest(
    protocols: ModuleType,
) -> None:
    def made(who: str) -> list[Any]:
        return list(protocols._protocols(who, 1, 2, "model", protocols.vectors(np.ones((1, 1)))))

    def kinds(who: str) -> list[str]:
        return [type(one).__name__ for one in made(who)]

    assert kinds("tritonclient") == ["TritonGrpc", "TritonRest", "TritonRest"]
    assert [one._binary for one in made("tritonclient")[1:]] == [False, True]
    assert kinds("the server alone") == ["Grpc", "Rest", "Rest"]
    assert [b'"data"' in one.body for one in made("the server alone")[1:]] == [True, False]
    assert protocols.CALLERS == {"tritonclient": 1, "the server alone": 8}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_a_server_that_is_measured_keeps_its_record_apart(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if '"ai_assets.serving"' in text or "ai_assets.serving.service" in text:
        assert '"AI_ASSETS_LOG"' in text


def faults_of(folder: Path) -> dict[str, str]:
    """What keeps scripts of a folder from starting, by name; tried in one process."""
    names = sorted(file.stem for file in folder.glob("*.py"))
    assert names
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL, *names],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(FOLDER.parent)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def gone(text: str, folder: Path) -> list[str]:
    """What a text tells of that is not there: targets without a script, and files."""
    files = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    targets, told = re.findall(r"\bbench-(\w+)", text), re.findall(r"\bbenchmarks/(\w+\.py)", text)
    no_scripts = {
        f"bench-{name}" for name in targets if "__main__" not in files.get(f"{name}.py", "")
    }
    return sorted(no_scripts | (set(told) - set(files)))


def test_every_benchmark_imports_and_tells_its_arguments() -> None:
    assert faults_of(FOLDER) == {}


def test_a_benchmark_that_cannot_start_is_named(tmp_path: Path) -> None:
    parses = "import argparse\n\ndef main():\n    parser = argparse.ArgumentParser()\n"
    for name, text in {
        "good": f"{parses}    parser.parse_args()",
        "gone": "from ai_assets.lifecycle.naming import no_such_name",
        "unclear": f"{parses}    parser.add_argument('--a', help='5 %')\n    parser.parse_args()",
        "hasty": "import argparse\n\ndef main():\n    return 0",
        "hasty_too": "from argparse import ArgumentParser\n\ndef main():\n    return 0",
    }.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")

    found = faults_of(tmp_path)

    assert set(found) == {"gone", "unclear", "hasty", "hasty_too"}
    assert "no_such_name" in found["gone"]
    assert found["unclear"].startswith("ValueError")
    assert found["hasty"] == found["hasty_too"] == "--help began the work"


def test_benchmarks_that_are_told_of_are_there() -> None:
    found = [
        f"{file.name}: {name}"
        for file in (*TOLD, *FOLDER.glob("*.py"))
        for name in gone(file.read_text(encoding="utf-8"), FOLDER)
    ]

    assert found == []


def test_a_benchmark_that_is_told_of_but_is_not_there_is_named() -> None:
    text = "`make bench-load`, `make bench-figures`, `benchmarks/gone.py`, `benchmarks/wrk.py`"

    assert gone(text, FOLDER) == ["bench-figures", "gone.py"]
