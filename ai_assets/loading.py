"""How a code location loads: quickly, for declarations are read in C and definitions kept for good;
and where a declaration is wrong, with what is wrong told first."""

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from pydantic import ValidationError

from ai_assets.lifecycle.errors import DeclarationError, UserError

_IN_PYTHON = yaml.SafeLoader
# PyYAML may have been built without libyaml.
_IN_C: type[Any] | None = getattr(yaml, "CSafeLoader", None)


@contextmanager
def definitions_are_kept() -> Iterator[None]:
    """Let the garbage collector neither look for garbage while definitions are made nor later.

    They and the modules that make them live as long as the process, and walking over them again
    and again took a third of the time of loading.
    """
    looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if looking:
            gc.enable()


class LibyamlLoader(_IN_C or _IN_PYTHON):  # type: ignore[misc]
    """PyYAML's loader in C, which shows mistakes as the one in Python does, with their line."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._stream = stream

    def check_node(self) -> bool:
        """See `yaml.composer.Composer.check_node`."""
        with self._mistakes_are_shown():
            return super().check_node()

    def get_node(self) -> yaml.Node | None:
        """See `yaml.composer.Composer.get_node`."""
        with self._mistakes_are_shown():
            return super().get_node()

    @contextmanager
    def _mistakes_are_shown(self) -> Iterator[None]:
        try:
            yield
        except yaml.MarkedYAMLError:
            deque(yaml.compose_all(self._stream, Loader=_IN_PYTHON), maxlen=0)
            raise


@contextmanager
def yaml_is_read_by_libyaml() -> Iterator[None]:
    """Let Dagster read declarations with PyYAML's C parser: the same values, lines and columns.

    Dagster derives its loader from `yaml.SafeLoader` anew for each file; the one in Python takes
    nine times as long, a third of the time of loading a hundred products. Where PyYAML has no C
    parser, Dagster's own loader stays.
    """
    if _IN_C is not None:
        yaml.SafeLoader = LibyamlLoader  # type: ignore[misc]
    try:
        yield
    finally:
        yaml.SafeLoader = _IN_PYTHON  # type: ignore[misc]


@contextmanager
def mistakes_are_told_first() -> Iterator[None]:
    """Let the error of a wrong declaration begin with what is wrong, by file and line.

    Dagster tells it last, below several stack traces, where in the UI it has to be looked for.

    Raises:
        DeclarationError: a declaration is wrong; other errors pass as they are.
    """
    try:
        yield
    except Exception as error:
        if (words := mistake(error)) is None:
            raise
        raise DeclarationError(words) from error


def mistake(error: BaseException) -> str | None:
    """What a person who wrote a declaration did wrong; None where it is no such error."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    if isinstance(root, ValidationError):
        told = (
            (".".join(str(part) for part in one["loc"]), one["msg"].removeprefix("Value error, "))
            for one in root.errors()
        )
        return "\n".join(f"{where}: {what}" if where else what for where, what in told)
    return str(root) if isinstance(root, UserError | yaml.MarkedYAMLError) else None
