"""What goes wrong in requests: in the values of JSON, in its bytes, and in what HTTP says of it."""

import copy
import gzip
import json
import random
import string
import zlib
from collections.abc import Callable
from typing import Any

Json = Any
# Lone surrogates, which UTF-8 cannot hold; values at and beyond the ends of their types; moments
# that are none; names that mean something elsewhere; far too much of anything.
VALUES: list[Json] = [
    None, True, False, 0, -1, 1.5, -0.0, 5e-324, 1e308, 2**31, 2**53 + 1, 2**63 - 1, 2**63,
    -(2**63), -(2**63) - 1, 2**64, 10**400, float("nan"), float("inf"), float("-inf"), "",
    " ", "0", "NaN", "null", "\u0000", "\ud800", "\udfff\ud800", "\ufeff", "\u202eabc", "e\u0301",
    "\U0001f6eb" * 300, "A" * 100_000, "2013-02-30T25:61:00Z", "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z", "0000-00-00", "2013-01-01T00:00:00+23:59", "2013-01-01", "P1D",
    "' OR 1=1 --", "%s%n%x",
    "{{7*7}}", "${jndi:x}", "../../../etc/passwd", "file:///etc/passwd", "a\r\nX-Injected: 1",
    "\\", '"', "<script>", "__proto__", "constructor", [], {}, [[]], [{}], {"": None},
    {"__proto__": {"x": 1}}, [None] * 1500, list(range(1500)), {"$ref": "#"},
]  # fmt: skip
_DEEP = "@deep@"


def values_mutated(content: Json, rng: random.Random, most: int = 3) -> Json:
    """The content with 1 to `most` mistakes in its values, members or shape."""
    content = copy.deepcopy(content)
    for _ in range(rng.randint(1, most)):
        path = rng.choice(_paths(content))
        if not path:
            content = _other(content, rng)
            continue
        within = content
        for step in path[:-1]:
            within = within[step]
        _mistake(within, path[-1], rng)
    return content


def as_json(content: Json, rng: random.Random) -> bytes:
    """Its bytes, now and then with members twice or with lists far too deep."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.9)
    if _DEEP in text:
        depth = rng.choice((100, 1000, 50_000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        text = text.replace(f'"{_DEEP}"', opening * depth + "1" + closing * depth, 1)
    if rng.random() < 0.02 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + ", " + text[1:]
    return text.encode("utf-8", "surrogatepass")


def bytes_mutated(body: bytes, rng: random.Random) -> bytes:
    """The bytes with one mistake: cut, changed, doubled, or in another encoding."""
    at = rng.randint(0, len(body))
    end = rng.randint(at, len(body))
    noise = rng.randbytes(rng.randint(1, 64))
    flipped = bytearray(body)
    for _ in range(rng.randint(1, 8) if body else 0):
        flipped[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    mistakes: list[Callable[[], bytes]] = [
        lambda: body[:at],
        lambda: body[at:],
        lambda: body[:at] + body[end:],
        lambda: body[:end] + body[at:end] * rng.randint(1, 20) + body[end:],
        lambda: body[:at] + noise + body[at:],
        lambda: body[:at] + rng.choice(string.punctuation).encode() + body[at:],
        lambda: bytes(flipped),
        lambda: noise,
        lambda: b"",
        lambda: b"\xef\xbb\xbf" + body,
        lambda: body.decode("utf-8", "replace").encode("utf-16"),
        lambda: body + body,
        lambda: gzip.compress(body),
    ]
    return rng.choice(mistakes)()


def text_mutated(text: str, rng: random.Random) -> str:
    """The text with one mistake in its words."""
    words = text.split(" ")
    at, other = rng.randrange(len(words)), rng.randrange(len(words))
    mistakes: list[Callable[[], list[str]]] = [
        lambda: words[:at] + words[at + 1 :],
        lambda: [*words[:at], words[other], *words[at:]],
        lambda: [*words[:at], *words[at:other] * rng.randint(2, 40), *words[other:]],
        lambda: [*words[:at], rng.choice("{}()[]!$:@.|&\"'#"), *words[at:]],
        lambda: [*words[:at], str(rng.choice(VALUES))[:200], *words[at + 1 :]],
        lambda: list(reversed(words)),
        lambda: words[:at],
    ]
    return " ".join(rng.choice(mistakes)())


def packed(body: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A Content-Encoding, and the body, which may be in another one, broken, or a bomb."""
    bomb = rng.choice((b" ", b"[")) * 30_000_000 if rng.random() < 0.05 else body
    found = {
        "gzip": lambda: gzip.compress(bomb, 1),
        "deflate": lambda: zlib.compress(bomb, 1),
        "identity": lambda: body,
        "br": lambda: body,
        "gzip, gzip": lambda: gzip.compress(gzip.compress(body)),
    }
    said = rng.choice(list(found))
    content = found[said if rng.random() < 0.6 else rng.choice(list(found))]()
    return said, bytes_mutated(content, rng) if rng.random() < 0.3 else content


def _paths(content: Json) -> list[tuple[Any, ...]]:
    """Where the values are, the whole among them."""
    found: list[tuple[Any, ...]] = [()]
    if isinstance(content, dict | list):
        members = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in list(members)[:200]:
            found += [(name, *path) for path in _paths(value)]
    return found


def _other(value: Json, rng: random.Random) -> Json:
    """Something that is not the value."""
    others: list[Callable[[], Json]] = [
        lambda: copy.deepcopy(rng.choice(VALUES)),
        lambda: [value],
        lambda: {"value": value},
        lambda: str(value),
        lambda: [value] * rng.choice((2, 17, 1001)),
        lambda: _DEEP,
        lambda: rng.uniform(-1e6, 1e6),
        lambda: rng.randint(-(2**70), 2**70),
    ]
    # What is no longer a small object soon is a very large one.
    large = isinstance(value, dict | list) and len(json.dumps(value)) > 2000
    return rng.choice(others[:4] if large else others)()


def _mistake(within: Json, at: Any, rng: random.Random) -> None:
    """One mistake in a member of an object or list."""
    kind = rng.random()
    if kind < 0.6:
        within[at] = _other(within[at], rng)
    elif kind < 0.75:
        del within[at]
    elif isinstance(within, dict):
        name = rng.choice((f"{at} ", f"{at}x", at.upper(), "", "\u0000", "A" * 5000, "__class__"))
        within[name] = within[at] if kind < 0.9 else within.pop(at)
    else:
        within.insert(rng.randint(0, len(within)), copy.deepcopy(rng.choice(VALUES)))
