"""The ways an alert reaches people. Each sends one alert, or raises why it could not.

What is raised and logged never holds an address's path, a password or a token: a webhook's address
alone lets anybody post.
"""

import fcntl
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.resources.notify.alert import Alert

if TYPE_CHECKING:
    import smtplib

_TRY_LATER = {408, 425, 429}
_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class NotSent(Exception):
    """An attempt that failed.

    Attributes:
        lasting: The same attempt would fail again until a person changes something.
        wait: Seconds that the receiver asks to wait, if it does.
    """

    def __init__(self, words: str, *, lasting: bool = False, wait: float = 0) -> None:
        super().__init__(words)
        self.lasting, self.wait = lasting, wait


class Channel(Protocol):
    """One way to people."""

    def send(self, alert: Alert) -> None:
        """Send the alert.

        Raises:
            NotSent: It could not be sent.
        """


class Console:
    """Writes to standard error."""

    def send(self, alert: Alert) -> None:
        print(alert.text(), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class File:
    """Appends a line of JSON to a file."""

    path: Path

    def send(self, alert: Alert) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                start = b"" if _ends_a_line(file.fileno()) else b"\n"
                file.write(start + alert.to_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotSent(f"the file cannot be written: {error.strerror}") from error


def _ends_a_line(file: int) -> bool:
    """False after a process died in the middle of a line."""
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"


@dataclass(frozen=True)
class Webhook:
    """Posts JSON: the alert's attributes, and `text`, which chat programs show.

    `Idempotency-Key` is the alert's id, for receivers that want to see each alert only once.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        parts = _split(self.url, "webhook")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DeclarationError("webhook must be an http or https address.")

    def send(self, alert: Alert) -> None:
        import httpx

        body = json.dumps({"text": alert.text(), **json.loads(alert.to_json())})
        headers = {"Content-Type": "application/json", "Idempotency-Key": alert.id}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            with _without_its_log("httpx"):
                answer = httpx.post(
                    self.url, content=body, headers=headers, timeout=self.timeout_seconds
                )
        except httpx.HTTPError as error:
            raise NotSent(f"no answer ({type(error).__name__})") from None
        if answer.is_success:
            return
        code = answer.status_code
        later = code >= 500 or code in _TRY_LATER
        wait = _seconds(answer.headers.get("Retry-After", ""))
        raise NotSent(f"the receiver answered {code}", lasting=not later, wait=wait)


def _seconds(retry_after: str) -> float:
    """The header's seconds, at most a day; 0 for the form with a date."""
    return min(float(retry_after), 86_400) if retry_after.isdecimal() else 0


@contextmanager
def _without_its_log(name: str) -> Iterator[None]:
    """httpx logs whole addresses. Drop what it logs in this thread while the block runs."""
    thread, logger = threading.get_ident(), logging.getLogger(name)

    def of_another_thread(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(of_another_thread)
    try:
        yield
    finally:
        logger.removeFilter(of_another_thread)


@dataclass(frozen=True)
class Email:
    """Sends a mail by SMTP.

    Attributes:
        server: `smtp://host`, `smtp+starttls://user:password@host`, or `smtps://…`; the port after
            the host where it is not 25, 587 or 465. Certificates are verified.
        sender: The address that it comes from.
        to: The addresses that it goes to.
    """

    server: str = field(repr=False)
    sender: str
    to: tuple[str, ...]
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        parts = _split(self.server, "smtp")
        if parts.scheme not in _PORTS:
            raise DeclarationError(must_be("smtp's scheme", _PORTS, parts.scheme))
        if not parts.hostname:
            raise DeclarationError("smtp must name a host, as in smtp+starttls://mail.example.org.")
        if parts.scheme == "smtp" and parts.username:
            raise DeclarationError(
                "smtp must begin with smtp+starttls:// or smtps:// where it holds a password, so "
                "that nobody reads it on the way."
            )
        if not self.sender or not self.to:
            raise DeclarationError("email_from and email_to must be given where smtp is.")

    def send(self, alert: Alert) -> None:
        import smtplib

        try:
            with self._connect() as server:
                refused = server.send_message(self._message(alert))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            lasting = all(code >= 500 for code in codes)
            raise NotSent(f"every recipient was refused ({codes[0]})", lasting=lasting) from None
        except smtplib.SMTPResponseException as error:
            code = error.smtp_code
            raise NotSent(f"the mail server answered {code}", lasting=code >= 500) from None
        except smtplib.SMTPNotSupportedError:
            raise NotSent("the mail server offers no STARTTLS or no login", lasting=True) from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"no mail server ({type(error).__name__})") from None
        if refused:
            words = "%d of %d recipients of an alert were refused by the mail server"
            logging.getLogger(__name__).warning(words, len(refused), len(self.to))

    def _connect(self) -> "smtplib.SMTP":
        import smtplib
        import ssl

        parts = urlsplit(self.server)
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            safe = ssl.create_default_context()
            server = smtplib.SMTP_SSL(host, port, timeout=self.timeout_seconds, context=safe)
        else:
            server = smtplib.SMTP(host, port, timeout=self.timeout_seconds)
        try:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, alert: Alert) -> EmailMessage:
        message = EmailMessage()
        message["Subject"], message["From"] = alert.line(), self.sender
        message["To"] = ", ".join(self.to)
        message["Message-ID"] = f"<{alert.id}@ai-assets>"
        message.set_content(alert.text())
        return message


def _split(url: str, name: str) -> SplitResult:
    """The address's parts. The error does not repeat the address, which may hold a secret."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise DeclarationError(
            f"{name} must be a valid address with a port of 0 to 65535."
        ) from None
    return parts
