"""Values as YAML that people read: in flow style, quoted only where they must be."""

import json
import re
from datetime import date
from typing import Any

import yaml

_SAFE = re.compile(r"[^\W\d][\w /().%+-]*")


def scalar(value: Any) -> str:
    """A number, truth value, date or text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else _decimal(value)
    if isinstance(value, int | date):
        return str(value)
    return _text(str(value))


def flow(value: Any) -> str:
    """A value, a list of them, or a mapping, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def block(text: str) -> str:
    """A text behind a key on a line of its own."""
    try:
        if yaml.safe_load(f"a: {text}") == {"a": text} and text.isprintable():
            return text
    except yaml.YAMLError:
        pass
    return _text(text)


def comment(text: str) -> str:
    """One line, whatever the text holds."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]", " ", text).split())


def _decimal(value: float) -> str:
    text = repr(value)
    return text if "e" not in text else f"{value:.12f}".rstrip("0")


def _text(text: str) -> str:
    if _SAFE.fullmatch(text) and text == text.strip():
        try:
            if yaml.safe_load(text) == text:
                return text
        except yaml.YAMLError:
            pass
    return json.dumps(text, ensure_ascii=not text.isprintable())
