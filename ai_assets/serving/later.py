"""The app of a bundle, made when the server starts and not when its module is imported."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from ai_assets.serving.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

# Each is large, and none needs another.
_LIBRARIES = ("duckdb", "polars", "onnxruntime", "deltalake", "pyarrow")


class Later(Starlette):
    """Stands for the app until the server starts; then it is the app.

    What comes before the app is ready waits.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(lifespan=self._alive)
        self._folder = folder
        self._settings = settings
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does."""
        if self._app is None:
            await super().__call__(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    @asynccontextmanager
    async def _alive(self, _: Starlette) -> AsyncIterator[None]:
        app = await asyncio.to_thread(load, self._folder, self._settings)
        self._app = app
        # BentoML asks for the routes before it hands a request on.
        self.router.routes[:] = app.routes
        async with app.router.lifespan_context(app):
            yield


def load(folder: Path, settings: Settings) -> "FastAPI":
    """The app, with what answers imported side by side."""
    with ThreadPoolExecutor(1, thread_name_prefix="importing") as pool:
        libraries = [pool.submit(importlib.import_module, name) for name in _LIBRARIES]
        from ai_assets.serving.app import create_app

        app = create_app(folder, settings)
        for library in libraries:
            library.result()
    return app
