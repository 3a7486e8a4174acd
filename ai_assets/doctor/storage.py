"""Whether state, lake and databases can be written and read, and whether the disk suffices."""

import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ai_assets.doctor.line import Line, ok, problem, warning
from ai_assets.doctor.place import Place
from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.place import KEYS, LOG, is_postgres

GIB = 2**30
LEAST_FREE = GIB
"""A run writes tables, models and a bundle, and SQLite its log; in bytes."""
LEAST_FILES = 10_000
_DATABASES = tuple(
    f"{folder}/**/*.{end}"
    for folder in ("dagster", "mlflow", "keys", "alerts", "served")
    for end in ("db", "sqlite")
)
_WAIT_S = 2.0
_MOST_SECONDS = 10.0
_MOST_CHECKED = 256 * 2**20
_SHARED_KINDS = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")


def state_folder(place: Place) -> Iterator[Line]:
    """Whether files can be made, moved and removed below the state root."""
    home = place.home
    folder = _nearest(home)
    if refused := _refuses_files(folder):
        do = f"chown -R {_me()} '{folder}', or another folder: AI_ASSETS_HOME=/path make setup"
        yield problem("state folder", f"{folder} cannot be written: {refused}.", do)
        return
    kind = _file_system(folder)
    if kind in _SHARED_KINDS:
        found = f"{home} lies on {kind}, where SQLite's locks do not always hold."
        do = "a local disk: AI_ASSETS_HOME=/path make setup; or PostgreSQL, docs/how-to/postgres.md"
        yield warning("state folder", found, do)
        return
    there = "can be written" if home.is_dir() else "will be made"
    yield ok("state folder", f"{home} {there}.")


def lake(place: Place) -> Iterator[Line]:
    """Whether the lake can be read and written, be it a folder or a URL."""
    with place.entered():
        from ai_assets.serving.online import lake_root

        root = lake_root()
        refused = _refuses_objects(root) if "://" in root else _refuses_files(_nearest(Path(root)))
    if refused and "://" in root:
        do = "correct AI_ASSETS_LAKE and AWS_…: docs/how-to/s3.md"
        yield problem("lake", f"{root} cannot be written and read: {refused}.", do)
    elif refused:
        do = f"chown -R {_me()} '{root}'"
        yield problem("lake", f"{root} cannot be written: {refused}.", do)
    else:
        yield ok("lake", f"{root} can be written and read.")


def databases(place: Place) -> Iterator[Line]:
    """Whether each SQLite file of the state opens, is whole and can be written."""
    home, until = place.home, time.monotonic() + _MOST_SECONDS
    files = sorted({f for p in _DATABASES for f in home.glob(p) if f.is_file()}, key=_newest_first)
    looked = 0
    bad = False
    for file in files:
        if time.monotonic() > until:
            break
        looked += 1
        broken, locked = _broken(file)
        if broken:
            bad = True
            do = "stop what uses it, then put a backup in its place (docs/how-to/backup.md)"
            yield problem("databases", f"{file}: {broken}.", do)
        elif locked:
            bad = True
            do = "wait, or end the process that holds it (fuser shows it)"
            yield warning("databases", f"{file}: locked for longer than {_WAIT_S:.0f} s.", do)
    if not bad:
        which = f"All {looked}" if looked == len(files) else f"The newest {looked} of {len(files)}"
        yield ok("databases", f"{which} SQLite files below {home} open and are whole.")


def postgres(place: Place) -> Iterator[Line]:
    """Whether the databases of answers and of keys take connections, where they are PostgreSQL."""
    for name, setting in (("record", LOG), ("keys", KEYS)):
        url = place.settings.get(setting, "")
        if is_postgres(url):
            yield _answering(name, setting, url)


def _answering(name: str, setting: str, url: str) -> Line:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        from ai_assets.serving.postgres import parsed
    except ImportError:
        return problem(name, "psycopg is not installed.", "pip install 'ai-assets[postgres]'")
    do = f"correct {setting}, or start the database: docs/how-to/postgres.md"
    try:
        conninfo, _ = parsed(url.replace("{product}", "product"), setting)
    except BundleError as error:
        return problem(name, str(error), do)
    # What libpq reads, not a piece of the URL: there the password may stand anywhere.
    known = conninfo_to_dict(conninfo)
    host, port = known.get("host", "localhost"), known.get("port", 5432)
    shown = f"postgresql://…@{host}:{port}/{known.get('dbname', '')}"
    try:
        with psycopg.connect(conninfo) as connection:
            (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    except psycopg.Error as error:
        return problem(name, f"{shown} refuses: {error}", do)
    return ok(name, f"{shown} answers, PostgreSQL {version}.")


def disk(place: Place, least: int = LEAST_FREE) -> Iterator[Line]:
    """Whether there is room: for a run at least, and to write all tables once more."""
    folder = _nearest(place.home)
    free, used = shutil.disk_usage(folder).free, _size(place.home)
    files = os.statvfs(folder).f_favail
    said = f"{_gib(free)} free at {folder}, {_gib(used)} in use by the state"
    do = "make room, or move the state: AI_ASSETS_HOME=/path make setup"
    if free < least:
        yield problem("disk", f"{said}; a run may need {_gib(least)}.", do)
    elif 0 < files < LEAST_FILES:
        yield problem("disk", f"{said}, but only {files} more files may be made.", do)
    elif free < used:
        yield warning("disk", f"{said}: too little to write all of it once more.", do)
    else:
        yield ok("disk", f"{said}.")


def temporary(place: Place, least: int = LEAST_FREE) -> Iterator[Line]:
    """Whether bundles can be built in the folder of temporary files."""
    folder = Path(place.settings.get("TMPDIR") or tempfile.gettempdir())
    refused = _refuses_files(folder)
    free = 0 if refused else shutil.disk_usage(folder).free
    do = "TMPDIR=/path with room"
    if refused:
        yield problem("temporary files", f"{folder} cannot be written: {refused}.", do)
    elif free < least:
        yield problem("temporary files", f"{_gib(free)} free at {folder}.", do)
    else:
        yield ok("temporary files", f"{_gib(free)} free at {folder}.")


def _refuses_files(folder: Path) -> str:
    """Why a file cannot be written, moved and removed in the folder; nothing where it can."""
    draft, moved = (folder / f".doctor-{uuid.uuid4().hex}{end}" for end in ("", ".moved"))
    try:
        draft.write_text("written by the doctor\n", encoding="utf-8")
        draft.rename(moved)
        read = moved.read_text(encoding="utf-8")
        moved.unlink()
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        return error.strerror or str(error)
    return "" if read == "written by the doctor\n" else "what was written is not what is read"


def _refuses_objects(root: str) -> str:
    """Why an object cannot be written, read and removed below the URL; nothing where it can."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        store, base = fs.FileSystem.from_uri(root)
        if store.type_name == "local":
            Path(base).mkdir(parents=True, exist_ok=True)
        name = f"{base.rstrip('/')}/.doctor-{uuid.uuid4().hex}"
        with store.open_output_stream(name) as stream:
            stream.write(b"written by the doctor\n")
        with store.open_input_stream(name) as stream:
            read = stream.read()
        store.delete_file(name)
    except (OSError, pa.ArrowException) as error:
        return str(error).rstrip(".")
    return "" if read == b"written by the doctor\n" else "what was written is not what is read"


def _broken(file: Path) -> tuple[str, bool]:
    """What is wrong with a database, in words, and whether somebody has locked it."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=_WAIT_S)) as one:
            one.isolation_level = None
            if file.stat().st_size <= _MOST_CHECKED:
                (said,) = one.execute("PRAGMA quick_check(1)").fetchone()
            else:
                one.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                said = "ok"
            one.execute("BEGIN IMMEDIATE")
            one.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        locked = "locked" in str(error)
        return ("" if locked else str(error)), locked
    except sqlite3.DatabaseError as error:
        return str(error), False
    return ("" if said == "ok" else str(said)), False


def _nearest(path: Path) -> Path:
    """The path, or the folder above that is there."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return there


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder lies on; empty where nobody tells."""
    import psutil

    mounts = sorted(psutil.disk_partitions(all=True), key=lambda one: -len(one.mountpoint))
    real = folder.resolve()
    return next((one.fstype for one in mounts if real.is_relative_to(one.mountpoint)), "")


def _size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def _newest_first(file: Path) -> float:
    return -file.stat().st_mtime


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:.0f} MiB"


def _me() -> str:
    import getpass

    return getpass.getuser()
