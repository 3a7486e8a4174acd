"""Alerts to send, notifiers with short waits, and the path to the receivers."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ai_assets.resources.notify import Alert, Notifier

sys.path.insert(0, str(Path(__file__).parent))  # for receivers.py


@pytest.fixture
def alert() -> Callable[..., Alert]:
    def make(key: str = "drift/2013-03-01", **changes: Any) -> Alert:
        given = {
            "product": "flights",
            "partition": "2013-03-01",
            "kind": "drift",
            "severity": "warning",
            "title": "Distances drifted",
            "words": "Half of the flights are longer. Look at the drift report.",
            "evidence": {"psi": 0.31},
            "key": key,
        }
        return Alert(**{**given, **changes})

    return make


@pytest.fixture
def notifier(state: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Notifier]:
    """Makes notifiers over one outbox; no proxy stands before the loopback interface."""
    monkeypatch.setenv("NO_PROXY", "*")

    def make(**fields: Any) -> Notifier:
        return Notifier(**{"console": False, "timeout_seconds": 2.0, **fields})

    return make


@pytest.fixture
def moment() -> Callable[[float], datetime]:
    """The moment so many seconds from now."""
    start = datetime.now(UTC).timestamp()
    return lambda seconds: datetime.fromtimestamp(start + seconds, UTC)
