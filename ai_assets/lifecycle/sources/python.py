"""Python functions that give rows: beside the YAML, or importable."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean
from ai_assets.lifecycle.sources.request import Request


def read_python(request: Request) -> pl.LazyFrame:
    """What `module.function(start, end)` returns; both are None without partitions.

    Raises:
        DataError: there is no such module or function, it raises, or returns no polars frame.
    """
    return rows_of_function(request.source.python or "", request, "python")


def rows_of_function(name: str, request: Request, field: str) -> pl.LazyFrame:
    """What the function that `source.<field>` names returns.

    Raises:
        DataError: there is no such module or function, it raises, or returns no polars frame.
    """
    function = load_function(name, request.folder)
    span = request.span
    try:
        rows = function(span.start, span.end) if span else function(None, None)
    except Exception as error:
        raise DataError(
            f"source.{field} '{name}' must return a polars frame, but raised "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(rows, pl.DataFrame):
        return rows.lazy()
    if isinstance(rows, pl.LazyFrame):
        return rows
    raise DataError(
        f"source.{field} '{name}' must return a polars DataFrame or LazyFrame, but got "
        f"{type(rows).__name__}."
    )


def load_function(name: str, folder: Path) -> Callable[..., Any]:
    """The function `module.function`; the product's own file goes before an installed module."""
    path, _, attribute = name.rpartition(".")
    if not path:
        raise DataError(f"source.python must be 'module.function', but got '{name}'.")
    file = folder.joinpath(*path.split(".")).with_suffix(".py")
    module = _from_file(file) if file.is_file() else _installed(path, name, folder)
    function = getattr(module, attribute, None)
    if not callable(function):
        there = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise DataError(
            f"source.python must name a function of {module.__file__}, but got '{attribute}'."
            f"{did_you_mean(attribute, there)}"
        )
    return function


def _from_file(file: Path) -> ModuleType:
    """Load a file once a version: what it read into memory serves the next partition too."""
    path = file.resolve()
    key = sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()[:16]
    name = f"ai_assets_source_{path.stem}_{key}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"source.python must name a Python file, but got '{path}'.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise DataError(
            f"source.python file '{file}' must load, but raised {type(error).__name__}: {error}"
        ) from error
    return module


def _installed(path: str, name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ImportError as error:
        beside = [p.stem for p in folder.glob("*.py")]
        raise DataError(
            f"source.python must be 'module.function' of a module in '{folder}' or an importable "
            f"one, but got '{name}': {error}.{did_you_mean(path, beside)}"
        ) from error
