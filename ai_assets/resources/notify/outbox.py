"""What is to be sent and what was, in a SQLite file that several processes share.

An alert is written down before it is sent, once a channel. Who sends it takes it for a while first,
so that two processes do not send the same; one that dies while sending leaves it to others when
that while is over. So each alert arrives at least once, and twice only after such a death.
"""

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ai_assets.resources.notify.alert import Alert

State = Literal["pending", "sent", "failed"]

_LOCK_WAIT_SECONDS = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alert (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    id TEXT NOT NULL REFERENCES alert (id),
    channel TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts INTEGER NOT NULL,
    next_attempt REAL NOT NULL,
    taken_until REAL NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (id, channel)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due ON delivery (state, next_attempt);
PRAGMA user_version = 1;
"""
_DELIVERIES = """
SELECT body, channel, state, attempts, next_attempt, error FROM delivery JOIN alert USING (id)
"""


@dataclass(frozen=True)
class Delivery:
    """One alert on its way through one channel; `error` says why the last attempt failed."""

    alert: Alert
    channel: str
    state: State
    attempts: int
    next_attempt: datetime
    error: str = ""


class Outbox:
    """The deliveries in a file; times are seconds since 1970, given by the caller."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, alert: Alert, channels: Iterable[str], now: float) -> None:
        """Write the alert down for the channels; those that it was written down for keep theirs."""
        rows = [(alert.id, channel, now) for channel in channels]
        with self._write() as connection:
            connection.execute(
                "INSERT INTO alert VALUES (?, ?) ON CONFLICT DO NOTHING",
                (alert.id, alert.to_json()),
            )
            connection.executemany(
                """
                INSERT INTO delivery VALUES (?, ?, 'pending', 0, ?, 0, '')
                ON CONFLICT DO NOTHING
                """,
                rows,
            )

    def take(
        self, channels: Iterable[str], now: float, seconds: float, alert: Alert | None = None
    ) -> Delivery | None:
        """The delivery that has been due for longest, and nobody else's for some seconds.

        Args:
            channels: Those that may be chosen from.
            now: What is due by then.
            seconds: For how long nobody else gets it.
            alert: Only this one, if given.
        """
        names = list(channels)
        condition = f"""
            state = 'pending' AND next_attempt <= ? AND taken_until <= ?
            AND channel IN ({", ".join("?" * len(names))}) AND id = coalesce(?, id)
        """
        given = (now, now, *names, alert.id if alert else None)
        with self._write() as connection:
            row = connection.execute(
                f"{_DELIVERIES} WHERE {condition} ORDER BY next_attempt, id, channel LIMIT 1", given
            ).fetchone()
            if row is None:
                return None
            found = _delivery(row)
            connection.execute(
                "UPDATE delivery SET taken_until = ? WHERE id = ? AND channel = ?",
                (now + seconds, found.alert.id, found.channel),
            )
        return found

    def settle(
        self, taken: Delivery, state: State, next_attempt: float = 0, error: str = ""
    ) -> None:
        """Write down how an attempt ended. What was sent stays sent, whoever settles later."""
        with self._write() as connection:
            connection.execute(
                """
                UPDATE delivery
                SET state = ?, attempts = attempts + 1, next_attempt = ?, taken_until = 0, error = ?
                WHERE id = ? AND channel = ? AND state <> 'sent'
                """,
                (state, next_attempt, error, taken.alert.id, taken.channel),
            )

    def in_state(self, state: State) -> list[Delivery]:
        """All deliveries in a state, those due first in front."""
        if not self._path.exists():
            return []
        with closing(self._open()) as connection:
            rows = connection.execute(
                f"{_DELIVERIES} WHERE state = ? ORDER BY next_attempt, id, channel", (state,)
            )
            return [_delivery(row) for row in rows]

    def revive(self, now: float) -> int:
        """Make what failed pending again, as if never tried; returns how many."""
        with self._write() as connection:
            return connection.execute(
                """
                UPDATE delivery SET state = 'pending', attempts = 0, next_attempt = ?
                WHERE state = 'failed'
                """,
                (now,),
            ).rowcount

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone; all of it is on disk when the block ends, or nothing."""
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._make()
        return sqlite3.connect(self._path, timeout=_LOCK_WAIT_SECONDS, isolation_level=None)

    def _make(self) -> None:
        """Make the file. Only one process at a time: SQLite does not wait to turn the log on."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".new")
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._path.exists():
                return
            draft.unlink(missing_ok=True)
            with closing(sqlite3.connect(draft)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            draft.rename(self._path)


def _delivery(row: tuple[str, str, State, int, float, str]) -> Delivery:
    body, channel, state, attempts, due, error = row
    moment = datetime.fromtimestamp(due, UTC)
    return Delivery(Alert.from_json(body), channel, state, attempts, moment, error)
