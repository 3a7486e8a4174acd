"""Write `docs/reference` from the schema of the declaration and the settings that the code reads.

    .venv/bin/python docs/make_reference.py

A test compares what is committed with what this would write.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ai_assets.doctor.known import OTHERS, of_alerts
from ai_assets.lifecycle.product import DECLARATIONS, TabularDeclaration
from ai_assets.lifecycle.schema.section import Section
from ai_assets.serving.settings import Settings

FOLDER = Path(__file__).resolve().parent / "reference"
BY_HAND = "<!-- Written by docs/make_reference.py; change the code's descriptions instead. -->"
_ABOUT_DECLARATIONS = """\
`type` is the component of the kind, `attributes` the declaration:

```yaml
type: ai_assets.components.TabularProduct
attributes:
  description: …
```

A field without a default must be given. `make check-yaml` and `make doctor` find mistakes by file
and line."""
_ABOUT_SETTINGS = """\
`.env` in the checkout holds them (`make setup` writes it); `dagster` reads it by itself, other
commands after `set -a; source .env; set +a`. `make doctor` finds names that nothing reads."""
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "minLength": "at least {} characters",
}
_PLAIN = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
    "null": "nothing",
}  # fmt: skip
_ATTRIBUTE = re.compile(r"^ {4}(?:    )?(\w+): (.+?)(?=^ {4}(?:    )?\w+: |\Z)", re.M | re.S)


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    return {"declaration.md": declaration(), "settings.md": settings()}


def declaration() -> str:
    """Every field of `defs.yaml`, section by section."""
    parts = [
        BY_HAND,
        "# `defs.yaml`, field by field",
        _ABOUT_DECLARATIONS,
        _part("attributes", "attributes", TabularDeclaration, _own_words(TabularDeclaration)),
    ]
    for kind, declares in DECLARATIONS.items():
        shared = TabularDeclaration.model_fields
        extra = [name for name in declares.model_fields if name not in shared]
        if extra:
            words = f"{_own_words(declares)} All of the above, and:"
            title = f"attributes of a product of kind {kind}"
            parts.append(_part(f"attributes-{kind}", title, declares, words, only=extra))
    for section in sorted(_sections(), key=lambda one: one.__name__):
        parts.append(_part(section.__name__, _title(section), section, _own_words(section)))
    return "\n\n".join(parts) + "\n"


def settings() -> str:
    """Every environment variable that something reads."""
    servers = _attributes(inspect.getdoc(Settings) or "")
    rows = [
        (f"AI_ASSETS_{one.name.upper()}", _default_of(one.default), _sentence(servers[one.name]))
        for one in fields(Settings)
    ]
    alerts = [(name, "", words) for name, words in of_alerts().items()]
    others = [(name, "", words) for name, words in OTHERS.items()]
    parts = [
        BY_HAND,
        "# Settings: environment variables",
        _ABOUT_SETTINGS,
        "## Everywhere",
        _table(("variable", "default", "what it says"), others),
        "## Of a server",
        _table(("variable", "default", "what it says"), rows),
        "## Of alerts",
        _table(("variable", "default", "what it says"), alerts),
    ]
    return "\n\n".join(parts) + "\n"


def _part(
    anchor: str, title: str, section: type[BaseModel], words: str, only: list[str] | None = None
) -> str:
    """A heading, what the section is, and a table of its fields."""
    schema = section.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", _type(schema[name]), _default(field), _meaning(schema[name], field))
        for name, field in section.model_fields.items()
        if only is None or name in only
    ]
    table = _table(("field", "type", "default", "what it means"), rows)
    return f'<a id="{anchor.lower()}"></a>\n\n## {title}\n\n{words}\n\n{table}'


def _sections() -> set[type[Section]]:
    """Every section that a declaration has, of whatever kind."""
    found: set[type[Section]] = set()

    def look(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, Section) and kind not in found:
            found.add(kind)
            for field in kind.model_fields.values():
                look(field.annotation)
        for part in get_args(kind):
            look(part)

    for declares in DECLARATIONS.values():
        for field in declares.model_fields.values():
            look(field.annotation)
    return found


def _title(section: type[Section]) -> str:
    """The section's name, and where in the YAML it stands."""
    return f"{section.__name__} · {', '.join(f'`{place}`' for place in sorted(_places(section)))}"


def _places(section: type[Section]) -> Iterator[str]:
    owners = [*DECLARATIONS.values(), *_sections()]
    seen: set[str] = set()
    for owner in owners:
        for name, field in owner.model_fields.items():
            if section in set(_parts_of(field.annotation)):
                where = "" if owner in DECLARATIONS.values() else f"{owner.__name__}."
                if (place := f"{where}{name}") not in seen:
                    seen.add(place)
                    yield place


def _parts_of(kind: Any) -> Iterator[Any]:
    yield kind
    for part in get_args(kind):
        yield from _parts_of(part)


def _own_words(section: type[BaseModel]) -> str:
    return " ".join((inspect.getdoc(section) or "").split())


def _type(given: dict[str, Any]) -> str:
    """The type of a JSON schema, in words; allowed values are the type of a choice."""
    if "$ref" in given:
        name = given["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in given:
            kinds = [_type(one) for one in given[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in given or "const" in given:
        values = given.get("enum", [given.get("const")])
        return "one of " + ", ".join(f"`{value}`" for value in values)
    if given.get("type") == "array":
        if "prefixItems" in given:
            return "list of " + ", ".join(_type(one) for one in given["prefixItems"])
        return f"list of {_type(given.get('items', {}))}"
    if given.get("type") == "object":
        inside = given.get("additionalProperties")
        return f"map of names to {_type(inside)}" if isinstance(inside, dict) else "map"
    return _PLAIN.get(str(given.get("type")), "any value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    return _default_of(value)


def _default_of(value: Any) -> str:
    if value is None or isinstance(value, BaseModel) or "MISSING" in repr(value):
        return ""
    if isinstance(value, timedelta):
        return f"`{_duration(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ("", [], {}, ()) else ""


def _duration(value: timedelta) -> str:
    """A duration as `defs.yaml` writes it."""
    seconds = int(value.total_seconds())
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _meaning(given: dict[str, Any], field: FieldInfo) -> str:
    """The description, and the bounds that values keep."""
    bounds = [
        words.format(f"{one[name]:g}")
        for one in (given, *given.get("anyOf", []))
        for name, words in _BOUNDS.items()
        if name in one
    ]
    said = " ".join(str(field.description or "").split())
    return f"{said} *{', '.join(bounds).capitalize()}.*" if bounds else said


def _attributes(docstring: str) -> dict[str, str]:
    """What a docstring's `Attributes:` say, by name."""
    text = docstring.partition("Attributes:\n")[2]
    return {name: " ".join(words.split()) for name, words in _ATTRIBUTE.findall(text)}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """What Markdown takes for markup is written so that it is read; code is left as it is."""
    shown = text.replace("|", "\\|").split("`")
    return "`".join(p if n % 2 else p.replace("<", "&lt;") for n, p in enumerate(shown))


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
