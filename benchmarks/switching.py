"""Releases that change under load: how many requests fail, and how soon the new one answers.

Run as `python benchmarks/switching.py`. A server follows a ledger of its own, over the lake of the
newest bundle. Eight callers ask it one row after the other, while the ledger goes from one bundle
to another and back, by a split, a shadow, and a bundle whose file was changed after it was signed.
In the end the log must have each answer, once.
"""

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from callers import Call, calling, p99_ms
from figures import Figure, report
from newest_bundle import newest_bundle
from peers import free_port, serving
from requests_of import request_bodies

from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import Entry, Mode, ReleaseLedger
from ai_assets.resources.signer import Signer
from ai_assets.serving.bundle import payload_digest
from ai_assets.serving.place import state_root
from ai_assets.serving.record.store import read_store
from ai_assets.serving.settings import Settings
from ai_assets.serving.signature import MANIFEST
from ai_assets.serving.traffic.releases import payload_of

CALLERS, CHECK_S, PEACE_S, HOLD_S = 8, 1.0, 10.0, 1.0
MOST_S = CHECK_S + 4.0
# Of the p99, beside that in peace.
MOST_SLOWER = 2.0


@dataclass(frozen=True)
class Wish:
    """A release as the ledger is to have it, and whether a server can serve all of it."""

    stable: str
    candidate: str | None = None
    mode: Mode = ""
    split: float = 0.0
    can_be_served: bool = True


@dataclass(frozen=True)
class Switch:
    """One change of the release.

    Attributes:
        wish: what was released.
        began: `time.monotonic` before it was written down.
        written: the same afterwards.
        seen: when the server served it, or said that it cannot.
    """

    wish: Wish
    began: float
    written: float
    seen: float


class World:
    """A lake with a ledger of its own, and a store with two bundles and a damaged third.

    Args:
        folder: for all of it; tables of the real lake are linked.
        product: whose newest bundle is taken.
    """

    def __init__(self, folder: Path, product: str) -> None:
        payload = newest_bundle(product)[1]
        self.product, self.lake, self.store = product, folder / "lake", folder / "bentoml"
        self.bodies = request_bodies(payload)
        for table in json.loads((payload / "online.json").read_text()).values():
            link = self.lake / table["path"]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(Settings.from_environment().lake, table["path"]).resolve())
        self._signer = Signer(key_path=str(folder / "key.pem"))
        self._ledger = ReleaseLedger(lake=Lake(root=str(self.lake)))
        self._numbers = itertools.count()
        self.one, self.two, self.damaged = (self._bundle(payload, n) for n in (1, 2, 3))
        with (payload_of(self.store, self.damaged) / "features.sql").open("a") as file:
            file.write(" ")

    def _bundle(self, payload: Path, number: int) -> str:
        """The bundle with another threshold, signed; its tag."""
        draft = self.store / f"draft-{number}"
        shutil.copytree(payload, draft)
        decision = json.loads((draft / "decision.json").read_text())
        decision["threshold"] = number / 10
        (draft / "decision.json").write_text(json.dumps(decision))
        manifest = json.loads((draft / MANIFEST).read_text())
        facts = {key: value for key, value in manifest.items() if key not in ("files", "format")}
        self._signer.sign(draft, facts)
        digest = payload_digest((draft / MANIFEST).read_bytes())
        parts = (self.product, manifest["partition"], digest[:12])
        tag = f"{parts[0]}:{'-'.join(part for part in parts[1:] if part)}"
        place = payload_of(self.store, tag)
        place.parent.mkdir(parents=True)
        draft.rename(place)
        return tag

    def wishes(self) -> list[Wish]:
        """What is released one after the other, over and over; each differs from its neighbours."""
        one, two = self.one, self.two
        return [
            Wish(two),
            Wish(two, one, "ab", 0.3),
            Wish(one),
            Wish(one, two, "shadow"),
            Wish(one, self.damaged, "canary", 0.5, can_be_served=False),
            Wish(two, one, "canary", 0.6),
            Wish(self.damaged, can_be_served=False),
            Wish(one),
        ]

    def release(self, wish: Wish) -> None:
        """Append to the ledger."""
        now, number = datetime.now(UTC), str(next(self._numbers))
        entry = Entry(
            self.product, now, now, wish.stable, number, "benchmark", "benchmark", "benchmark",
            candidate=wish.candidate, split=wish.split, mode=wish.mode,
        )  # fmt: skip
        self._ledger.append(entry)


def switched(world: World, client: httpx.Client, wish: Wish) -> Switch:
    """Release a wish, wait until the server has followed, and let it serve so for a while.

    Raises:
        SystemExit: it did not follow.
    """
    began = time.monotonic()
    world.release(wish)
    written = time.monotonic()
    while not _followed(client.get("/release").json(), wish):
        if time.monotonic() > written + 60:
            raise SystemExit(f"The server did not follow: {client.get('/release').text}")
        time.sleep(0.02)
    seen = time.monotonic()
    time.sleep(HOLD_S)
    return Switch(wish, began, written, seen)


def _followed(shown: dict[str, object], wish: Wish) -> bool:
    if not wish.can_be_served:
        return shown["problem"] is not None
    expected = (wish.stable, wish.candidate, wish.mode, wish.split)
    found = tuple(shown[name] for name in ("stable", "candidate", "mode", "split"))
    return found == expected and shown["problem"] is None


def strange(calls: Sequence[Call], switches: Sequence[Switch], first: str) -> int:
    """Answers by a bundle that was not in production at any time between question and answer."""
    spans, allowed = [], {first}
    ends = [switch.seen for switch in switches[1:]] + [float("inf")]
    before = (float("-inf"), switches[0].seen, allowed)
    for switch, end in zip(switches, ends, strict=True):
        wish = switch.wish
        if wish.can_be_served:
            shared = {wish.candidate} if wish.split and wish.candidate else set()
            allowed = {wish.stable} | shared
        spans.append((switch.began, end, allowed))
    return sum(
        not any(
            call.bundle in tags and call.ended >= begin and call.began <= end
            for begin, end, tags in (before, *spans)
        )
        for call in calls
        if call.status == 200
    )


def logged(log: Path) -> list[str]:
    """Ids of all answers that were given, by the log."""
    store = read_store(str(log))
    assert store is not None
    try:
        entries = store.answers((None, None))
        return [i for e in entries if e.role != "shadow" for i in e.prediction_ids()]
    finally:
        store.close()


def figures(
    peace: Sequence[Call], calls: Sequence[Call], switches: Sequence[Switch], first: str, log: Path
) -> list[Figure]:
    """Failed requests, wrong bundles, the log, and how long each change took."""
    failed = Counter(call.status for call in (*peace, *calls) if call.status != 200)
    ids = logged(log)
    given = [call.prediction_id for call in (*peace, *calls) if call.status == 200]
    # What was asked until the server was ready is in the log too.
    lost, more = len(set(given) - set(ids)), len(ids) - len(given)
    odd = strange(calls, switches, first)
    slowest = max(switch.seen - switch.written for switch in switches)
    told = f"{len(calls):,} requests, {len(switches)} switches"
    ours, others = p99_ms(calls), p99_ms(peace)
    once = lost == 0 and len(ids) == len(set(ids)) and 0 <= more <= 1
    return [
        Figure(f"failed of {told}", str(failed.total()), "", None, "0", not failed),
        Figure("answers by a bundle that was not in production", str(odd), "", None, "0", odd == 0),
        Figure(
            "answers in the log, given", f"{len(ids):,}", f"{len(given):,}", None,
            "each, once", once,
        ),
        Figure(
            f"slowest change, looked for every {CHECK_S:.0f} s", f"{slowest:.2f} s", "", None,
            f"<= {MOST_S:.0f} s", slowest <= MOST_S,
        ),
        Figure(
            "p99 of eight callers, while releases change and in peace", f"{ours:.1f} ms",
            f"{others:.1f} ms", ours / others, f"<= {MOST_SLOWER:g}x", ours <= MOST_SLOWER * others,
        ),
    ]  # fmt: skip


def main() -> int:
    """Change the release under load; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--product", default="flight_delay")
    parser.add_argument("--switches", type=int, default=40)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as temporary:
        folder = Path(temporary)
        world, port = World(folder, asked.product), free_port()
        log = folder / "answers.sqlite"
        environment = {
            "AI_ASSETS_HOME": str(state_root()),
            "AI_ASSETS_ACCESS": "open",
            "AI_ASSETS_LOG": str(log),
            "AI_ASSETS_LAKE": str(world.lake),
            "AI_ASSETS_BUNDLES": str(world.store),
            "AI_ASSETS_CHECK_SECONDS": str(CHECK_S),
        }
        world.release(Wish(world.one))
        command = ["-m", "ai_assets.serving", "--product", asked.product, "--port", str(port)]
        ask = ("/predict", world.bodies[0])
        with (
            serving(command, port, ask, folder=folder, environment=environment),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):
            with calling(port, world.bodies, CALLERS) as peace:
                time.sleep(PEACE_S)
            with calling(port, world.bodies, CALLERS) as calls:
                wishes = itertools.islice(itertools.cycle(world.wishes()), asked.switches)
                switches = [switched(world, client, wish) for wish in wishes]
        return report(figures(peace, calls, switches, world.one, log))


if __name__ == "__main__":
    sys.exit(main())
