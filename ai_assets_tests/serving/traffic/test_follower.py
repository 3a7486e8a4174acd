"""The follower alone, with bundles that are names: when it tries again, and what goes on."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.traffic.follow import Follower
from ai_assets.serving.traffic.releases import Release
from ai_assets.serving.traffic.router import Serving


class Following:
    """A follower with a ledger of one entry, bundles that are names, and a clock that we move."""

    def __init__(self, now: Serving, newest: Release) -> None:
        self.seconds, self.tried = 0.0, list[tuple[float, str]]()
        parts: list[Any] = [
            SimpleNamespace(newest=lambda: newest),
            SimpleNamespace(now=now),
            SimpleNamespace(recorder=SimpleNamespace(store=None)),
            SimpleNamespace(check_seconds=1.0),
        ]
        self.follower = Follower(*parts, cast(Any, None), clock=lambda: self.seconds)
        self.follower._loaded = self._fails  # type: ignore[method-assign]

    def _fails(self, tag: str) -> Any:
        self.tried.append((self.seconds, tag))
        raise BundleError("it is damaged")


def slot(tag: str) -> Any:
    alike = SimpleNamespace(task="binary", classes=())
    return SimpleNamespace(bundle=SimpleNamespace(tag=tag, decision=alike))


def test_what_cannot_be_loaded_is_tried_again_each_time_after_twice_as_long():
    made = Following(Serving(Release("trips:1"), slot("trips:1")), Release("trips:2"))
    for second in range(40):
        made.seconds = float(second)
        made.follower.look()

    assert [seconds for seconds, _ in made.tried] == [0, 1, 3, 7, 15, 31]


@pytest.mark.parametrize(("mode", "share"), [("bandit", 0.8), ("ab", 0.3)])
def test_a_bandit_whose_split_is_changed_goes_on_from_what_it_knows(mode: str, share: float):
    before = Release("trips:1", "trips:2", 0.5, "bandit")
    now = Serving(before, slot("trips:1"), slot("trips:2"), learned=0.8)
    found, problem = Following(now, Release("trips:1", "trips:2", 0.3, mode)).follower.look()

    assert found is not None and problem == ""
    assert found.share == share
