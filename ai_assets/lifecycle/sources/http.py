"""Files behind HTTP(S), streamed to a temporary file first."""

import tempfile
import time
from pathlib import Path

import polars as pl

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.sources.files import scan_csv, scan_ndjson, scan_parquet
from ai_assets.lifecycle.sources.request import Request, with_variables, without_secrets
from ai_assets.lifecycle.sources.spool import Spool

TRIES = 3
PAUSE = 0.5
_WORTH_A_RETRY = {408, 425, 429, 500, 502, 503, 504}


def read_http(request: Request) -> pl.LazyFrame:
    """The file at an address, in the types of its format (see `files`).

    Tried three times when the server is unreachable, busy or breaks off.
    """
    source = request.source.http
    assert source is not None
    url = request.filled(source.url, "http.url")
    headers = {k: with_variables(v, f"http.headers.{k}") for k, v in source.headers.items()}
    with tempfile.TemporaryDirectory(prefix="ai_assets_") as folder:
        file = Path(folder, f"body.{source.format}")
        download(url, headers, source.timeout, file)
        try:
            return _spooled(_scan(file, request, source.format))
        except DataError as error:
            shown = str(error).replace(str(file), without_secrets(url))
            raise DataError(shown) from None


def _scan(file: Path, request: Request, kind: str) -> pl.LazyFrame:
    if kind == "csv":
        return scan_csv([str(file)], request)
    return scan_parquet([str(file)]) if kind == "parquet" else scan_ndjson([str(file)], request)


def _spooled(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows, apart from the file that they came in: it goes when the caller returns."""
    spool = Spool(rows.collect_schema())
    for batch in rows.collect_batches(chunk_size=100_000, maintain_order=True):
        spool.add(batch)
    return spool.lazy()


def download(url: str, headers: dict[str, str], timeout: float, file: Path) -> None:
    """Write what an address answers to a file; tried three times.

    Raises:
        DataError: nobody answers, what comes breaks off, or the answer is not 200.
    """
    import httpx

    for attempt in range(TRIES):
        last = attempt == TRIES - 1
        try:
            status = _fetch(url, headers, timeout, file)
        except httpx.InvalidURL as error:
            raise DataError(
                f"source.http.url must be an http(s) address, but got '{without_secrets(url)}'."
            ) from error
        except httpx.UnsupportedProtocol as error:
            raise DataError(
                f"source.http.url must be an http(s) address, but got '{without_secrets(url)}'."
            ) from error
        except httpx.HTTPError as error:
            if last:
                raise DataError(
                    f"'{without_secrets(url)}' must be reachable and send the whole body, but "
                    f"after {TRIES} tries: {without_secrets(str(error)) or type(error).__name__}"
                ) from None
        else:
            if status == 200:
                return
            if last or status not in _WORTH_A_RETRY:
                raise DataError(
                    f"'{without_secrets(url)}' must answer with status 200, but got {status}."
                )
        time.sleep(PAUSE * 2**attempt)


def _fetch(url: str, headers: dict[str, str], timeout: float, file: Path) -> int:
    import httpx

    options = {"headers": headers, "timeout": timeout, "follow_redirects": True}
    with httpx.stream("GET", url, **options) as response:  # type: ignore[arg-type]
        if response.status_code == 200:
            with file.open("wb") as out:
                for chunk in response.iter_bytes(2**20):
                    out.write(chunk)
        return int(response.status_code)
