"""A bundle at work, with all that is its own: reader, scorer, waiting line, protocol models."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
from pydantic import BaseModel

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving import signature
from ai_assets.serving.batching import MicroBatcher
from ai_assets.serving.bundle import Bundle, read_bundle
from ai_assets.serving.engine import Engine, Part, Scored
from ai_assets.serving.metrics import Metrics
from ai_assets.serving.model import open_model
from ai_assets.serving.observe.exchange import note_scored
from ai_assets.serving.online import OnlineError, OnlineTables
from ai_assets.serving.problems import Refused
from ai_assets.serving.record.keeper import rows_as_json
from ai_assets.serving.request import RequestReader
from ai_assets.serving.settings import Settings
from ai_assets.serving.traffic.releases import check_tag

if TYPE_CHECKING:
    from ai_assets.serving.protocols.models import Models
    from ai_assets.serving.record.feedback import FeedbackReader

T = TypeVar("T")


class Slot:
    """One bundle that answers. All but loading it happens on the event loop.

    Args:
        bundle: a verified bundle.
        reader: reads rows as the bundle declares them.
        engine: scores with it.
        settings: limits.
    """

    def __init__(
        self, bundle: Bundle, reader: RequestReader, engine: Engine, settings: Settings
    ) -> None:
        self.bundle, self.reader, self.engine = bundle, reader, engine
        self._settings = settings
        self.batcher: MicroBatcher[Part, Scored] = MicroBatcher(
            engine.score,
            max_rows=settings.batch_rows,
            max_waiting=settings.max_waiting,
            told=note_scored,
            max_seconds=settings.max_seconds,
        )
        # Every way in scores by this; without a cache it is the waiting line itself.
        self.submit: Callable[[Part], Awaitable[Scored]] = self.batcher.submit
        if settings.cache:
            from ai_assets.serving.traffic.cache import Cache

            self.submit = Cache(self.batcher.submit, engine, settings.cache).answer
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()
        self._held = 0
        self._free = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @cached_property
    def models(self) -> "Models":
        """The models of the Open Inference Protocol."""
        from ai_assets.serving.protocols.models import Models

        return Models(self.bundle, self.reader)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What a protocol makes of the bundle, such as its pages; made when first asked for."""
        with self._making:
            if name not in self._made:
                self._made[name] = make()
            found: T = self._made[name]
            return found

    @cached_property
    def feedback(self) -> "FeedbackReader":
        """Reads outcomes in the words of the bundle."""
        from ai_assets.serving.record.feedback import FeedbackReader

        table, most = self.bundle.request.table, self._settings.max_rows
        return FeedbackReader(table, self.bundle.decision, max_rows=most)

    def open(self) -> None:
        """Take requests, and look for newer tables."""
        self.batcher.open()
        self.engine.start()

    async def ready(self) -> None:
        """Return if rows can be scored now.

        Anybody may ask, as often as they like. So nobody who does takes a place in the line, and
        all who do while tables are missing wait for one look at them.

        Raises:
            Refused: with 503 and the reason, as any caller may hear it.
        """
        self.batcher.check()
        if self.engine.snapshots is not None:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self.engine.ready))
        await asyncio.shield(self._looking)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it open meanwhile: whoever was let in is answered by it."""
        self.hold()
        try:
            yield
        finally:
            self.let_go()

    def hold(self) -> None:
        """Keep it open until `let_go` is called as often."""
        self._held += 1
        self._free.clear()

    def let_go(self) -> None:
        """See `hold`."""
        self._held -= 1
        if not self._held:
            self._free.set()

    async def close(self) -> None:
        """Answer whoever was let in, and end."""
        if self._held:
            await self._free.wait()
        await self.batcher.close()
        await asyncio.to_thread(self.engine.stop)

    def taking(self, part: Part) -> Part:
        """The part as this bundle takes it, also where another one has read it.

        Raises:
            Refused: it declares rows otherwise, and these are none of its own.
        """
        if isinstance(part, np.ndarray):
            width = self.bundle.encoding.width
            if part.shape[1] != width:
                raise Refused(400, f"The features must be [n, {width}].")
            return part
        if not isinstance(part, pl.DataFrame):
            return self.own(part)
        same = dict(part.schema) == self.reader.schema
        return part if same else self.reader.rows(rows_as_json(part, self.reader.table))

    def own(self, rows: Sequence[BaseModel]) -> list[BaseModel]:
        """Rows as this bundle reads them, also where another one has.

        Raises:
            Refused: it declares rows otherwise, and these are none of its own.
        """
        if all(type(row) is self.reader.model for row in rows):
            return list(rows)
        return self.reader.rows(rows_as_json(rows, self.reader.table))


def load_slot(folder: Path, tag: str, settings: Settings, metrics: Metrics) -> Slot:
    """A slot of a bundle that was verified, loaded and rehearsed, beside whatever answers.

    Args:
        folder: the bundle's payload.
        tag: the bundle that must be there.
        settings: limits, places and the trusted key.
        metrics: counts batches.

    Raises:
        BundleError: it does not verify, is another bundle, or cannot answer now; says why.
    """
    bundle = read_bundle(*signature.verified(folder, settings.trusted_key or None))
    check_tag(bundle.tag, tag)
    reader = RequestReader(bundle, max_rows=settings.max_rows)
    engine = Engine(
        bundle,
        reader,
        OnlineTables(settings.lake, bundle.online),
        metrics,
        check_s=settings.check_seconds,
        opening=lambda: open_model(bundle.model, settings.threads),
    )
    engine.scorer.open_model()
    engine.warm()
    try:
        engine.check()
    except OnlineError as error:
        raise BundleError(str(error)) from error
    return Slot(bundle, reader, engine, settings)
