"""What the doctor looks at: a checkout, and the settings that hold for commands run in it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import ai_assets

PROJECT = Path(ai_assets.__file__).resolve().parent.parent
DOTENV = ".env"


@dataclass(frozen=True)
class Place:
    """A checkout and an environment.

    Attributes:
        project: The folder with `Makefile`, `requirements.lock` and `.env`.
        given: The environment that the doctor was started with.
        products: The folder of the products.
        ports: TCP ports of loopback that are to be free: the UI's first, then those of servers.
    """

    project: Path = PROJECT
    given: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    products: Path = PROJECT / "ai_assets" / "products"
    ports: tuple[int, ...] = (3000, 3001, 3002)

    @cached_property
    def written(self) -> dict[str, str]:
        """What `.env` says."""
        from dotenv import dotenv_values

        found = dotenv_values(self.project / DOTENV)
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def settings(self) -> dict[str, str]:
        """The environment that holds: `dagster` lets `.env` win where it is started beside it."""
        return {**self.given, **self.written}

    @property
    def home(self) -> Path:
        """The state root: `$AI_ASSETS_HOME`, or `.state` in the project."""
        return self.project / (self.settings.get("AI_ASSETS_HOME") or ".state")

    @property
    def dagster_home(self) -> Path | None:
        """Where Dagster keeps its history; None where it would forget it."""
        given = self.settings.get("DAGSTER_HOME")
        return self.project / given if given else None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let `os.environ` say what holds here while the block runs."""
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.settings, AI_ASSETS_HOME=str(self.home))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
