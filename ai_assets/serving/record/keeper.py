"""What the app asks of the record: keep these answers, keep this feedback."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ai_assets.serving.columns import picture
from ai_assets.serving.observe.exchange import note_answered
from ai_assets.serving.observe.exchange import part as timed_part
from ai_assets.serving.record.answers import Answered, Described, Entry, LogError
from ai_assets.serving.record.asked import Asked
from ai_assets.serving.record.counts import Counts
from ai_assets.serving.record.feedback import FeedbackReader, micros, told
from ai_assets.serving.record.recorder import Recorder, log_mode, not_kept
from ai_assets.serving.record.store import log_place, open_store

if TYPE_CHECKING:
    from ai_assets.lifecycle.schema.tables import Table
    from ai_assets.serving.bundle import Bundle
    from ai_assets.serving.engine import Part, Scored
    from ai_assets.serving.metrics import Metrics
    from ai_assets.serving.settings import Settings

# What was asked of a bundle, the rows, and its answers.
Piece = tuple[Asked, "Part", "Scored"]


class Keeper:
    """Keeps what bundles answer, and what callers tell of it, in one log.

    Args:
        bundle: the first that answers; it declares how answers are kept.
        settings: where the log lies, and its limits.
        metrics: counts what was kept.
    """

    def __init__(self, bundle: "Bundle", settings: "Settings", metrics: "Metrics") -> None:
        place = log_place(bundle.product, settings.log)
        declared = bundle.manifest.get("serving", {}).get("log")
        self.recorder = Recorder(
            lambda: open_store(place),
            log_mode(declared, settings.log_mode),
            max_waiting=settings.max_waiting,
            max_seconds=settings.max_seconds,
            first=[_described(bundle)],
            kept=metrics.recorded,
        )
        self.counts = Counts(self.recorder.offer)
        self._tables = {bundle.tag: bundle.request.table}
        self._undescribed: dict[str, Described] = {}

    def describe(self, bundle: "Bundle") -> None:
        """Say how another bundle's answers are read, before it gives any."""
        if bundle.tag not in self._tables:
            self._undescribed[bundle.tag] = _described(bundle)
            self._tables[bundle.tag] = bundle.request.table

    async def answered(self, *pieces: "Piece") -> None:
        """Record the answers to a request, all or none; when this returns, they may be given.

        Args:
            pieces: the rows that each bundle answered.

        Raises:
            Refused: with 503: they could not be recorded.
        """
        for _, _, scored in pieces:
            note_answered(scored)
        if self.recorder.mode != "off":
            with timed_part("record"):
                await self._keep(pieces)

    async def _keep(self, pieces: Sequence[Piece]) -> None:
        entries: list[Entry] = []
        described: list[str] = []
        for asked, part, scored in pieces:
            if not len(scored.label):
                continue
            given = b"" if isinstance(part, np.ndarray) else asked.given
            if given is None:
                # A large frame takes a while to write, and polars lets others work meanwhile.
                table = self._tables[scored.bundle]
                given = await asyncio.to_thread(rows_as_json, part, table)
            if scored.bundle in self._undescribed:
                entries.append(self._undescribed[scored.bundle])
                described.append(scored.bundle)
            entries.append(self._entry(asked, given, part, scored))
        if entries:
            await self.recorder.add(*entries)
        for tag in described:
            self._undescribed.pop(tag, None)

    async def told(
        self, body: bytes, reader: FeedbackReader, key_id: str | None = None
    ) -> dict[str, Any]:
        """Keep the outcomes of a body. What this returns was kept.

        Raises:
            Refused: with 400 what is wrong, with 404 where there is no such prediction, with 503
                where the log cannot be used.
        """
        store = await asyncio.to_thread(self.recorder.store)
        given = reader.read(body)
        try:
            entries = await asyncio.to_thread(told, given, reader.table, store, key_id)
        except LogError as error:
            raise not_kept(str(error)) from error
        await self.recorder.add(*entries)
        return {"recorded": len(entries)}

    def _entry(self, asked: Asked, given: bytes, part: "Part", scored: "Scored") -> Answered:
        first, last = _event_times(part, self._tables[scored.bundle].time)
        each = scored.probability if scored.probabilities is None else scored.probabilities
        return Answered(
            request_id=scored.request_id,
            at_us=time.time_ns() // 1000,
            route=asked.route,
            key_id=asked.key_id,
            bundle=scored.bundle,
            model=scored.model,
            role=asked.role,
            online={name: s.version for name, s in scored.snapshots.items()},
            threshold=scored.threshold or 0.0,
            latency_ms=round(1000 * (time.perf_counter() - asked.began), 3),
            event_from=first,
            event_to=last,
            given=given,
            features=scored.features.tobytes(),
            probability=each.astype(np.float64).tobytes(),
            label=scored.label,
            split=asked.split,
        )


def _described(bundle: "Bundle") -> Described:
    decision = bundle.decision
    classes = decision.classes if decision.task == "multiclass" else ()
    return Described.of(bundle.tag, bundle.request.table, bundle.encoding, classes)


def rows_as_json(part: "Part", table: "Table") -> bytes:
    """The rows of a part as a caller could have sent them; nothing for ready vectors.

    Args:
        part: the rows.
        table: what a row is declared to be; rows that are models know it themselves.
    """
    if isinstance(part, np.ndarray):
        return b""
    if isinstance(part, pl.DataFrame):
        moments = pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        files = [
            pl.Series(n, [None if v is None else picture(v, c.shape) for v in part[n]], pl.String)
            for n, c in table.columns.items()
            if c.type == "image" and n in part.columns
        ]
        return part.with_columns(moments, *files).write_json().encode()
    rows = [row.model_dump(mode="json", by_alias=True, exclude_unset=True) for row in part]
    return json.dumps(rows, ensure_ascii=False).encode()


def _event_times(part: "Part", time: str | None) -> tuple[int | None, int | None]:
    """The earliest and the latest event time; none of ready vectors."""
    if time is None or isinstance(part, np.ndarray):
        return None, None
    if isinstance(part, pl.DataFrame):
        moments: list[Any] = [part[time].min(), part[time].max()]
    else:
        moments = [getattr(row, f"f_{time}") for row in part]
    events = [micros(moment) for moment in moments]
    return min(events), max(events)
