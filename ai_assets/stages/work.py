"""The functions that do a stage's work, named where the stage is declared and imported later.

Loading the code location reads declarations only. What computes (polars, numpy, the lifecycle) is
imported by the process that runs the stage, when it does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Work:
    """A function of a stage module, with the arguments that the declaration gives it.

    Attributes:
        module: The module below `stages`.
        function: Its function.
        given: Arguments by name, beside what the stage is run with.
    """

    module: str
    function: str
    given: dict[str, Any] = field(default_factory=dict)

    def resolved(self) -> Callable[..., Any]:
        """The function itself; imports its module."""
        found = getattr(import_module(f"ai_assets.stages.{self.module}"), self.function)
        return partial(found, **self.given)

    def __call__(self, run: Any) -> Any:
        return self.resolved()(run)


def work(name: str, /, **given: Any) -> Work:
    """The work that is named `module:function`."""
    module, _, function = name.partition(":")
    return Work(module, function, given)
