"""The notifier: tells people, once a channel, and again later where a channel is down."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import DataError, must_be
from ai_assets.resources.notify.alert import Alert
from ai_assets.serving.place import state_root

if TYPE_CHECKING:
    from ai_assets.resources.notify.channels import Channel, NotSent
    from ai_assets.resources.notify.outbox import Delivery, Outbox

PREFIX = "AI_ASSETS_ALERTS_"
_SECRET = "Set the variable rather than the field: Dagster shows configuration in its pages."


@dataclass(frozen=True)
class Delivered:
    """How many deliveries were sent, failed and will be tried again, and failed for good."""

    sent: int = 0
    retried: int = 0
    failed: int = 0


class Notifier(dg.ConfigurableResource):
    """Sends alerts to people: to the console unless told otherwise, and wherever else is given."""

    console: bool = Field(
        default=True, description=f"Write alerts to standard error; ${PREFIX}CONSOLE. 0 stops it."
    )
    file: str = Field(
        default="", description=f"A file that gets a line of JSON an alert; ${PREFIX}FILE."
    )
    webhook: str = Field(
        default="",
        description=f"An address that alerts are posted to as JSON; ${PREFIX}WEBHOOK. {_SECRET}",
        repr=False,
    )
    webhook_token: str = Field(
        default="", description=f"Its bearer token; ${PREFIX}WEBHOOK_TOKEN. {_SECRET}", repr=False
    )
    smtp: str = Field(
        default="",
        description=(
            "A mail server: smtp://host:port, or smtp+starttls:// or smtps:// with user:password@; "
            f"${PREFIX}SMTP. {_SECRET}"
        ),
        repr=False,
    )
    email_from: str = Field(default="", description=f"Sender of mails; ${PREFIX}EMAIL_FROM.")
    email_to: str = Field(
        default="", description=f"Who gets mails, with commas between; ${PREFIX}EMAIL_TO."
    )
    outbox_path: str = Field(default="", description="SQLite file; default: alerts/outbox.db.")
    timeout_seconds: float = Field(default=10.0, gt=0, description="For each answer of a server.")
    first_wait_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Before the second attempt; each later wait is twice as long.",
    )
    longest_wait_seconds: float = Field(default=3600.0, gt=0)
    most_attempts: int = Field(
        default=60, ge=1, description="After them a delivery has failed; 60 are about two days."
    )

    def notify(self, alert: Alert) -> None:
        """Write the alert down and try to send it, once a channel.

        A channel that is down does not raise: `flush` tries again. An alert that was written down
        before, by its product and key, is not sent again.
        """
        now, channels = datetime.now(UTC).timestamp(), self._channels()
        outbox = self._outbox()
        outbox.add(alert, channels, now)
        self._send(outbox, channels, now, alert)

    def flush(self, now: datetime) -> Delivered:
        """Try what is due at the moment. After one failure a channel is left until the next call.

        Args:
            now: The moment, with a time zone.
        """
        if now.tzinfo is None:
            raise DataError(must_be("now", "a moment with a time zone", now))
        return self._send(self._outbox(), self._channels(), now.timestamp())

    def pending(self) -> "list[Delivery]":
        """What is still to be sent, those due first in front."""
        return self._outbox().in_state("pending")

    def failed(self) -> "list[Delivery]":
        """What was given up; mend the cause, then `resend`."""
        return self._outbox().in_state("failed")

    def resend(self, now: datetime) -> Delivered:
        """Try again what was given up, and what else is due."""
        self._outbox().revive(now.timestamp())
        return self.flush(now)

    def _send(
        self,
        outbox: "Outbox",
        channels: "Mapping[str, Channel]",
        now: float,
        alert: Alert | None = None,
    ) -> Delivered:
        sent, retried, failed = 0, 0, 0
        up = dict(channels)
        # Longer than one attempt can take: a mail is a handful of answers.
        seconds = 60 + 10 * self.timeout_seconds
        while up and (taken := outbox.take(up, now, seconds, alert)):
            problem = _attempt(up[taken.channel], taken.alert)
            if problem is None:
                outbox.settle(taken, "sent", now)
                sent += 1
            elif problem.lasting or taken.attempts + 1 >= self.most_attempts:
                outbox.settle(taken, "failed", now, str(problem))
                failed += 1
            else:
                wait = max(self._wait(taken.attempts), problem.wait)
                outbox.settle(taken, "pending", now + wait, str(problem))
                up.pop(taken.channel)
                retried += 1
        return Delivered(sent, retried, failed)

    def _wait(self, attempts: int) -> float:
        """Seconds until the next attempt, after so many before this one."""
        return min(self.first_wait_seconds * 2.0 ** min(attempts, 30), self.longest_wait_seconds)

    def _channels(self) -> "dict[str, Channel]":
        """The channels that are configured, by name.

        Raises:
            DeclarationError: An address is none, or a mail has no sender or recipient.
        """
        from ai_assets.resources.notify.channels import Console, Email, File, Webhook

        found: dict[str, Channel] = {}
        if self.console and os.environ.get(f"{PREFIX}CONSOLE", "1").lower() not in ("0", "false"):
            found["console"] = Console()
        if path := self._given("file"):
            found["file"] = File(Path(path))
        if url := self._given("webhook"):
            found["webhook"] = Webhook(url, self._given("webhook_token"), self.timeout_seconds)
        if server := self._given("smtp"):
            to = tuple(name.strip() for name in self._given("email_to").split(",") if name.strip())
            found["email"] = Email(server, self._given("email_from"), to, self.timeout_seconds)
        return found

    def _given(self, name: str) -> str:
        return str(getattr(self, name)) or os.environ.get(f"{PREFIX}{name.upper()}", "")

    def _outbox(self) -> "Outbox":
        from ai_assets.resources.notify.outbox import Outbox

        given = Path(self.outbox_path) if self.outbox_path else None
        return Outbox(given or state_root() / "alerts" / "outbox.db")


def _attempt(channel: "Channel", alert: Alert) -> "NotSent | None":
    """Why the alert was not sent; None where it was."""
    from ai_assets.resources.notify.channels import NotSent

    try:
        channel.send(alert)
    except NotSent as problem:
        return problem
    except Exception as error:  # an alert must neither be lost nor fail the run that sends it
        return NotSent(f"unforeseen ({type(error).__name__})")
    return None
