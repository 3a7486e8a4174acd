"""When the files of a source last changed, for what decides whether to read them again."""

import re
from glob import escape, glob
from pathlib import Path

from ai_assets.lifecycle.errors import DataError
from ai_assets.lifecycle.schema.sources import Source
from ai_assets.lifecycle.sources.request import with_variables

_FIELD = re.compile(r"\{[^{}]*\}")


def last_written(source: Source, folder: Path) -> float | None:
    """Seconds since 1970; None of a source that is no local file, or has none.

    A file that was moved to its place counts as written then, however old its content is.

    Args:
        source: as declared; of a template every file that it may name counts.
        folder: the product's.
    """
    kind = next((kind for kind in ("csv", "parquet", "ndjson") if getattr(source, kind)), None)
    if kind is None:
        return None
    try:
        place = with_variables(getattr(source, kind), kind)
        given = Path(place).expanduser()
    except (DataError, RuntimeError):  # no such variable or home, as is told where it is read
        return None
    if "://" in place:
        return None
    if (at := _changed(folder / given)) is not None:
        return at
    pattern = Path(escape(str(folder))) / _FIELD.sub("*", str(given))
    # Path.glob wants the part without magic apart; patterns here are whole.
    found = glob(str(pattern), recursive=True)  # noqa: PTH207
    return max((at for file in found if (at := _changed(Path(file))) is not None), default=None)


def _changed(file: Path) -> float | None:
    """None of a file that is gone since, or a link that leads nowhere: told where it is read."""
    try:
        state = file.stat()
    except OSError:
        return None
    return max(state.st_mtime, state.st_ctime)
