"""Where a person's rows are: a path, an address, an object store or a database; a look at them."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from ai_assets.lifecycle.errors import DataError, did_you_mean, must_be
from ai_assets.lifecycle.profile import sample as looks
from ai_assets.lifecycle.profile.sample import MOST_ROWS, Sample
from ai_assets.lifecycle.profile.text import layout_of_text
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.lifecycle.sources import read_source
from ai_assets.lifecycle.sources.http import download
from ai_assets.lifecycle.sources.request import with_variables, without_secrets

FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip
"""Suffixes of the files that are read, and their formats."""
COMPRESSED = (".gz", ".zst")
STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "hf")
_TEMPLATE = "{}$"
_TIMEOUT = 60.0
_HEAD_LINES = 2_000
_OPTIONS = {
    "source.sql.table": "--table", "source.sql.query": "--query", "source.sql.url": "--data",
    "source.http.url": "--data", "source.parquet": "--data", "source.csv": "--data",
    "source.ndjson": "--data",
}  # fmt: skip
"""What the fields of a declaration are called on the command line."""


@dataclass(frozen=True)
class Place:
    """Where rows are.

    Attributes:
        data: path of a CSV, NDJSON or Parquet file or of a folder of Parquet files; or the URL of
            one, or of a database.
        table: of a database.
        query: of a database, instead of a table.
    """

    data: str
    table: str | None = None
    query: str | None = None

    @property
    def shown(self) -> str:
        """The place for people, without passwords."""
        return without_secrets(self.data)


def read_sample(place: Place, most: int = MOST_ROWS) -> Sample:
    """Look at the rows of a place.

    Raises:
        DataError: it is not there, may not be read, is of another format, or is broken.
    """
    scheme = place.data.partition("://")[0] if "://" in place.data else ""
    is_database = "://" in place.data and scheme not in ("http", "https", *STORES)
    if not is_database and (place.table is not None or place.query is not None):
        raise DataError(
            f"--table and --query must go with a database, as --data sqlite:///shop.db, but got "
            f"'{place.shown}'."
        )
    try:
        return (_of_database if is_database else _reader(scheme))(place, most)
    except PermissionError:
        raise DataError(
            f"'{place.shown}' must be readable, but you have no permission to read it."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise DataError(f"'{place.shown}' must be readable, but: {reason}.") from None


def _reader(scheme: str) -> Callable[[Place, int], Sample]:
    if not scheme:
        return _of_path
    return _of_store if scheme in STORES else _of_address


def _of_path(place: Place, most: int) -> Sample:
    given = Path(place.data).expanduser()
    _check_place(given)
    path = given.resolve()
    if path.is_dir():
        if (path / "_delta_log").is_dir():
            source = {"delta": str(path)}
            return looks.sampled(_declared(source), source, str(path), path.name, most)
        return looks.of_parquet(path, most)
    return _of_file(path, _format_of(path.name), most)


def _of_file(path: Path, kind: str, most: int) -> Sample:
    if kind == "parquet":
        return looks.of_parquet(path, most)
    if kind == "csv":
        return looks.of_csv(path, most)
    looks.check_ndjson(path)
    return looks.of_ndjson(path, _declared({"ndjson": str(path)}), most)


def _check_place(path: Path) -> None:
    try:
        there = path.exists()
    except PermissionError:
        there = True
    if not there:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"--data must be a file or folder that exists, but got '{path}'."
                        f"{did_you_mean(path.name, beside)}")  # fmt: skip
    if found := sorted(set(_TEMPLATE) & set(str(path.absolute()))):
        raise DataError(
            f"The path of the data must be without {' and '.join(found)}, which stand for "
            f"variables in a declaration, but got '{path}'."
        )
    if not path.is_dir() and not path.is_file():
        raise DataError(f"--data must be a file or a folder, but '{path}' is a device or a pipe.")


def _format_of(name: str) -> str:
    """The format that a file's name tells.

    Raises:
        DataError: it tells none that is read.
    """
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix in FORMATS:
        return FORMATS[suffix]
    allowed = [*FORMATS, *(f".csv{packed}" for packed in COMPRESSED)]
    more = {
        ".json": " Write one object a line and let its name end in .ndjson.",
        ".xlsx": " Open it and save the sheet as CSV.",
        ".xls": " Open it and save the sheet as CSV.",
        ".db": " Of a database give --data sqlite:///<path> --table <name>.",
        ".sqlite": " Of a database give --data sqlite:///<path> --table <name>.",
    }.get(suffix, "")
    raise DataError(must_be("The suffix of --data", allowed, suffix or name) + more)


def _of_address(place: Place, most: int) -> Sample:
    """A file behind HTTP(S), downloaded to look at."""
    _check_no_secret(place)
    name = unquote(Path(urlsplit(place.data).path).name) or urlsplit(place.data).netloc
    held = tempfile.TemporaryDirectory(prefix="ai_assets_")
    file = Path(held.name, "body")
    try:
        download(with_variables(place.data, "http.url"), {}, _TIMEOUT, file)
        kind = _format_of(name) if Path(name).suffix else "csv"
        found = _of_file(file, kind, most)
    except DataError as error:
        raise DataError(_as_asked(error).replace(str(file), place.shown)) from None
    source: dict[str, Any] = {"http": {"url": place.data, "format": kind}}
    source |= {k: v for k, v in found.source.items() if k in looks.LAYOUT}
    return replace(found, source=source, name=name, held=held)


def _of_store(place: Place, most: int) -> Sample:
    """A file in an object store."""
    name = Path(urlsplit(place.data).path).name
    kind = _format_of(name)
    source: dict[str, Any] = {kind: place.data}
    notes: tuple[str, ...] = ()
    try:
        if kind == "csv":
            head = pl.scan_lines(place.data).head(_HEAD_LINES).collect()
            text = "\n".join(head.to_series().to_list())
            layout = layout_of_text(text, place.shown, whole=head.height < _HEAD_LINES)
            source |= looks.layout_source(layout)
            notes = looks.notes_of(layout)
        found = looks.sampled(_declared(source), source, place.shown, name, most)
    except DataError as error:
        raise DataError(_as_asked(error)) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = without_secrets(str(error)).strip().splitlines()[0]
        raise DataError(
            f"'{place.shown}' must be a file that can be read with the credentials in the "
            f"environment, but: {reason}"
        ) from None
    return replace(found, notes=(*notes, *found.notes))


def _of_database(place: Place, most: int) -> Sample:
    """A table of a database, or what a query gives; every column as text."""
    _check_no_secret(place)
    if not place.data.startswith("adbc+"):
        _check_database(place)
    if (place.table is None) == (place.query is None):
        raise DataError(
            f"Of the database '{place.shown}' either --table or --query must be given, but got "
            f"{'both' if place.table else 'none of them'}."
        )
    asked = {"table": place.table} if place.table else {"query": place.query}
    source = {"sql": {"url": _absolute(place.data), **asked}}
    try:
        rows = _declared(source)
    except DataError as error:
        raise DataError(_as_asked(error)) from None
    name = (place.table or "query").rpartition(".")[2]
    return looks.sampled(rows, source, f"{place.table or place.query} of {place.shown}", name, most)


def _check_database(place: Place) -> None:
    """Check that SQLAlchemy knows the database, and that what it needs is installed."""
    import sqlalchemy as sa

    try:
        url = sa.make_url(with_variables(place.data, "sql.url"))
        url.get_dialect().import_dbapi()
    except sa.exc.NoSuchModuleError:
        raise DataError(
            f"--data must be a path, an address (http, https), a file in an object store "
            f"({', '.join(STORES[:3])}, …) or the URL of a database that SQLAlchemy knows here "
            f"(sqlite, postgresql, mysql, …), but got '{place.shown}'."
        ) from None
    except ModuleNotFoundError as error:
        raise DataError(
            f"To read '{place.shown}' the package '{error.name}' must be installed, but it is not: "
            f"pip install it, or name another driver, as in postgresql+psycopg://…"
        ) from None
    except sa.exc.ArgumentError:
        raise DataError(
            f"--data must be a URL as sqlite:///shop.db or postgresql://host/shop, but got "
            f"'{place.shown}'."
        ) from None


def _check_no_secret(place: Place) -> None:
    """A declaration is committed: what opens a door stays in the environment."""
    bare = re.sub(r"\$\{?\w+\}?", "", place.data)
    bare = bare.replace(":@", "@")
    if without_secrets(bare) != bare:
        raise DataError(
            f"--data must hold no password or token, which would be written to defs.yaml, but got "
            f"'{place.shown}'. Put it into an environment variable and name that, in single "
            "quotes: '…:$SHOP_PASSWORD@…'."
        )


def _absolute(url: str) -> str:
    """The URL, with the path of an SQLite file as it is from anywhere."""
    if not url.startswith("sqlite:///") or "$" in url:
        return url
    path, question, options = url.removeprefix("sqlite:///").partition("?")
    if path in ("", ":memory:") or path.startswith("file:"):
        return url
    return f"sqlite:///{Path(path).expanduser().absolute()}{question}{options}"


def _declared(source: dict[str, Any]) -> pl.LazyFrame:
    """The rows as the stage `raw` will read them."""
    table = Table(source=Source.model_validate(source), columns={})
    return read_source(table.source, None, table=table, folder=Path.cwd())


def _as_asked(error: DataError) -> str:
    text = str(error)
    for field, option in _OPTIONS.items():
        text = text.replace(field, option)
    return text
