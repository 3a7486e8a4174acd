"""What a reader of a source gets to know, and what all readers need."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.partitions import Span
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table

if TYPE_CHECKING:
    from ai_assets.lifecycle.sources.landing import Landed

_FIELDS = ("partition", "start", "end")
_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")
_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^@\s]*)@")
_SECRET_QUERY = re.compile(r"(?i)((?:token|key|secret|password|signature|sig)=)[^&\s]+")


@dataclass(frozen=True)
class Request:
    """Which rows to read: a source, the stretch of time and its key, and the product's folder.

    Of a landing folder also the files that were taken.
    """

    source: Source
    table: Table
    folder: Path
    span: Span | None
    partition: str | None
    landed: "tuple[Landed, ...]" = ()

    def filled(self, template: str, field: str) -> str:
        """The template with environment variables and the partition filled in.

        Raises:
            DataError: a variable is not set, or the template names an unknown field.
        """
        text = with_variables(template, field)
        for _, name, _, _ in _parsed(text, field):
            if name is not None and name not in _FIELDS:
                raise DataError(
                    f"A template in source.{field} must use {', '.join(_FIELDS)}, but got "
                    f"'{{{name}}}'.{did_you_mean(name, _FIELDS)}"
                )
        if not self.is_template(text):
            return text
        if self.span is None:
            raise DataError(
                f"source.{field} must be a plain path for a table without partitions, but got "
                f"'{template}'."
            )
        return text.format(partition=self.partition, start=self.span.start, end=self.span.end)

    def is_template(self, text: str) -> bool:
        return any(name is not None for _, name, _, _ in Formatter().parse(text))

    def located(self, template: str, field: str) -> str:
        """A URL as it is, a path as an absolute one; relative to the product's folder."""
        place = self.filled(template, field)
        return place if "://" in place else str(self.folder / Path(place).expanduser())


def with_variables(text: str, field: str) -> str:
    """The text with `$NAME` and `${NAME}` replaced from the environment.

    Raises:
        DataError: a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise DataError(
                f"source.{field} must use environment variables that are set, but '{name}' is not."
                f"{did_you_mean(name, os.environ)}"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def without_secrets(text: str) -> str:
    """The text with the passwords and tokens of URLs blotted out."""
    return _SECRET_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


@contextmanager
def explained(what: str, where: str, allowed: str) -> Iterator[None]:
    """Turn whatever a library raises into one sentence for the user, without secrets."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = without_secrets(str(error)).strip().splitlines()
        raise DataError(
            f"{what} '{without_secrets(where)}' must be {allowed}, but reading it failed: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from None


def _parsed(text: str, field: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(text))
    except ValueError as error:
        raise DataError(f"source.{field} must have matching braces, but got '{text}'.") from error
