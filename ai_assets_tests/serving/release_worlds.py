"""A lake with a ledger, and a store with several bundles of one product."""

import itertools
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import small_payload as small

from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import Entry, ReleaseLedger
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import payload_digest
from ai_assets.serving.settings import Settings
from ai_assets.serving.signature import MANIFEST

SINCE = datetime(2013, 4, 1, tzinfo=UTC)


class World:
    """What a server that follows a release finds. Bundles differ by their threshold at least."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake, self.store = folder / "lake", folder / "bentoml"
        self._ledger = ReleaseLedger(lake=Lake(root=str(self.lake)))
        self._numbers = itertools.count()
        small.write_weather(self.lake)

    def settings(self, **changes: Any) -> Settings:
        """Settings of a server in this world; it looks for releases ten times a second."""
        given = {
            "product": "trips",
            "lake": str(self.lake),
            "bundles": str(self.store),
            "log": str(self.folder / "log.sqlite"),
            "check_seconds": 0.1,
        }
        return Settings(**given | changes)

    def environment(self) -> dict[str, str]:
        """The same for a server in a process of its own."""
        return {
            "AI_ASSETS_LAKE": str(self.lake),
            "AI_ASSETS_BUNDLES": str(self.store),
            "AI_ASSETS_LOG": str(self.folder / "log.sqlite"),
            "AI_ASSETS_CHECK_SECONDS": "0.2",
        }

    def bundle(
        self, threshold: float, change: Callable[[Path], None] | None = None, **written: Any
    ) -> str:
        """Build and sign a bundle; its tag. `change` writes its files anew before that."""
        draft = self.folder / f"draft-{next(self._numbers)}"
        small.write_payload(draft, **written)
        decision = json.loads((draft / "decision.json").read_text())
        (draft / "decision.json").write_text(json.dumps({**decision, "threshold": threshold}))
        if change is not None:
            change(draft)
        Signer(key_path=str(self.folder / "key.pem")).sign(draft, small.FACTS)
        digest = payload_digest((draft / MANIFEST).read_bytes())
        tag = f"trips:2013-04-01-{digest[:12]}"
        place = self.payload(tag)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(draft, place)
        return tag

    def payload(self, tag: str) -> Path:
        """Where a bundle of the store lies."""
        name, _, version = tag.partition(":")
        return self.store / "bentos" / name / version / "src" / "product"

    def release(
        self, stable: str, candidate: str | None = None, split: float = 0.0, mode: Any = ""
    ) -> None:
        """Append to the ledger."""
        number = next(self._numbers)
        self._ledger.append(
            Entry(
                product="trips",
                effective_from=SINCE,
                recorded_at=SINCE + timedelta(seconds=number),
                stable=stable,
                candidate=candidate,
                split=split,
                mode=mode,
                decision_id=str(number),
                cause="test",
                who="test",
                why="test",
            )
        )


def until(true: Callable[[], Any], within_s: float = 60) -> Any:
    """Wait until it is true; what it is then."""
    end = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found
