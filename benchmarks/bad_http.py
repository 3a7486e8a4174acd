"""Messages of HTTP and frames of WebSockets, and the mistakes that callers make in them."""

import random
import struct
from dataclasses import dataclass, field

from mutations import packed

_KINDS = (
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
    "application/xml", "application/json; charset=utf-16", "json", "application/x-ndjson", "\xff",
    "application/octet-stream",
)  # fmt: skip
_LONG = "X" * 99
_METHODS = (
    "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post", _LONG,
)  # fmt: skip
_HEADERS = (
    "X-Forwarded-For", "traceparent", "Accept", "Accept-Encoding", "Cookie", "Origin", "Expect",
    "Range", "If-None-Match", "tracestate", "Upgrade",
)  # fmt: skip


@dataclass
class Message:
    """A request over HTTP, before it becomes bytes."""

    path: str
    body: bytes
    method: str = "POST"
    headers: list[tuple[str, str]] = field(default_factory=list)
    ends: bool = True
    length: str | None = None
    head_end: str = "\r\n"

    def set(self, name: str, value: str) -> None:
        """A header, in the place of those of that name."""
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]
        self.headers.append((name, value))

    def bytes(self) -> bytes:
        """What is sent."""
        length = str(len(self.body)) if self.length is None else self.length
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if length:
            lines.append(f"Content-Length: {length}")
        head = "\r\n".join(lines) + "\r\n" + self.head_end
        return head.encode("latin-1", "replace") + self.body


def head_mistaken(message: Message, rng: random.Random) -> None:
    """One mistake in what HTTP says of a request."""
    body = message.body

    def chunked() -> None:
        message.set("Transfer-Encoding", rng.choice(("chunked", "chunked", "gzip", "chunked, x")))
        message.length = rng.choice(("", "", "5"))
        size = rng.choice((f"{len(body):x}", f"{len(body):x}", "zz", "-1", "f" * 20))
        message.body = size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
        message.ends = False

    def length() -> None:
        message.length = rng.choice((str(len(body) + 9), "-1", "x", "9" * 30, "0", "1, 2", ""))
        message.ends = False

    def method() -> None:
        message.method = rng.choice(_METHODS)
        message.ends = message.method not in ("CONNECT", "HEAD", _LONG)

    def path() -> None:
        message.path = rng.choice(
            (
                message.path + "/", "/" + noise(rng), message.path + "?" + noise(rng),
                "//" + message.path, message.path.upper(), "/..%2f..%2fetc/passwd", "/%ff%00",
                "*", "http://x/" + message.path, "/" + "a" * 9000,
            )
        )  # fmt: skip
        message.ends = message.path.startswith("/")

    def encoding() -> None:
        said, message.body = packed(body, rng)
        message.set("Content-Encoding", said)

    def header() -> None:
        name = rng.choice(_HEADERS)
        message.set(
            name, rng.choice((noise(rng), "\xff\xfe", "", "," * 5000, "0" * 60_000, "*/*;q=x"))
        )
        message.ends = False

    def key() -> None:
        token = dict(message.headers).get("X-API-Key", "")
        message.set(
            "X-API-Key", rng.choice(("", token[:-1], token + "x", "aia_" + noise(rng), "\xff"))
        )
        if rng.random() < 0.3:
            message.headers.append(("Authorization", f"Bearer {token}"))

    def large() -> None:
        message.body = body + b" " * rng.choice((1_999_000, 2_000_001))

    def raw() -> None:
        message.head_end = rng.choice(("\r\n", "", "\n", "bad header\r\n\r\n", "\x00: x\r\n\r\n"))
        message.ends = False

    def kind() -> None:
        message.set("Content-Type", rng.choice(_KINDS))

    mistakes = (chunked, length, method, path, encoding, header, key, kind, raw, large)
    rng.choices(mistakes, (2, 2, 2, 2, 4, 2, 2, 4, 2, 1))[0]()


def noise(rng: random.Random) -> str:
    """Some characters that may stand in a path, a query or a header, as they are or escaped."""
    some = "abcXYZ019-_.~%&=+:;,'()*!$@[]{}|^"
    text = "".join(rng.choice(some) for _ in range(rng.randint(1, 30)))
    return text + "".join(f"%{rng.randrange(256):02x}" for _ in range(rng.randint(0, 6)))


def frame(code: int, content: bytes, rng: random.Random, *, masked: bool = True) -> bytes:
    """A frame of a WebSocket."""
    size = len(content)
    mask = rng.randbytes(4) if masked else b""
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x80 | code, bit | size])
    elif size < 65_536:
        head = bytes([0x80 | code, bit | 126]) + struct.pack(">H", size)
    else:
        head = bytes([0x80 | code, bit | 127]) + struct.pack(">Q", size)
    if masked:
        repeated = (mask * (size // 4 + 1))[:size]
        whole = int.from_bytes(content, "big") ^ int.from_bytes(repeated, "big")
        content = whole.to_bytes(size, "big")
    return head + mask + content
