"""What makes a code location load quickly: declarations read in C, definitions kept for good."""

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

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
