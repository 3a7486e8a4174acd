"""What people are told: one alert, and how it reads as text and as JSON."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ai_assets.lifecycle.errors import DataError, must_be

SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True)
class Alert:
    """One thing that people should know.

    Attributes:
        product: Name of the product.
        partition: The partition that it is about, if any.
        kind: What sort of thing happened, in a word: "drift", "gate", "broken data".
        severity: "info", "warning" or "error".
        title: One line.
        words: What happened and what to do, in sentences.
        key: Alerts of a product with the same key are the same alert; it is sent once a channel.
        evidence: The numbers behind it; what JSON can hold.
    """

    product: str
    partition: str | None
    kind: str
    severity: str
    title: str
    words: str
    key: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise DataError(must_be("severity", SEVERITIES, self.severity))
        for name in ("product", "key", "title"):
            if not getattr(self, name).strip():
                raise DataError(must_be(name, "some text", getattr(self, name)))
        try:
            json.dumps(dict(self.evidence), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"evidence must be what JSON can hold: {error}.") from error

    @property
    def id(self) -> str:
        """Names the alert to receivers, who may get it twice: 32 hexadecimal digits."""
        told = json.dumps([self.product, self.key]).encode()
        return hashlib.sha256(told).hexdigest()[:32]

    def line(self) -> str:
        """The title in one line, with what it is about."""
        about = f"{self.product} {self.partition}" if self.partition else self.product
        return " ".join(f"[{self.severity}] {about}: {self.title}".split())

    def text(self) -> str:
        """All of it for reading."""
        evidence = [f"  {name}: {value}" for name, value in self.evidence.items()]
        return "\n".join([self.line(), self.words, *evidence])

    def to_json(self) -> str:
        """One line of JSON with every attribute and the id."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps({"id": self.id, **told, "evidence": dict(self.evidence)})

    @classmethod
    def from_json(cls, text: str) -> "Alert":
        """The alert that `to_json` wrote."""
        return cls(**{name: value for name, value in json.loads(text).items() if name != "id"})
