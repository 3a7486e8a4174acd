"""What benchmarks compute beside measuring."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def wrk() -> ModuleType:
    """The module that makes load."""
    spec = importlib.util.spec_from_file_location("wrk", FOLDER / "wrk.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_a_server_that_is_measured_keeps_its_record_apart(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if '"ai_assets.serving"' in text or "ai_assets.serving.service" in text:
        assert '"AI_ASSETS_LOG"' in text
