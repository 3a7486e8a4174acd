"""Whether secrets are for their owner alone, and folders of the state can be written."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ai_assets.doctor.line import Line, ok, problem
from ai_assets.doctor.place import DOTENV, Place
from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.place import KEYS, file_of, is_postgres, keys_place

_SECRET_WORDS = ("PASSWORD", "TOKEN", "SECRET", "KEY", "DSN", "SMTP", "://")
_FOLDERS = ("lake", "dagster", "mlflow", "bentoml", "keys", "alerts", "served", "tensorboard")


def secrets(place: Place) -> Iterator[Line]:
    """Whether others can read, or change, a file that holds a secret."""
    files = [file for file in _secret_files(place) if file.is_file()]
    found = [(file, stat.S_IMODE(file.stat().st_mode)) for file in files]
    for file, mode in found:
        if mode & 0o077:
            words = f"{file} has mode {mode:04o}: others of this machine may read it."
            yield problem("secrets", words, f"chmod 600 '{file}'")
    if all(not mode & 0o077 for _, mode in found):
        yield ok("secrets", f"{len(found)} files with secrets, each for its owner alone.")


def folders(place: Place) -> Iterator[Line]:
    """Whether the state's folders are ours to write: not made by another user, as root."""
    there = [folder for name in _FOLDERS if (folder := place.home / name).is_dir()]
    shut = [folder for folder in there if not _can_write(folder)]
    for folder in shut:
        owner = folder.stat().st_uid
        found = f"{folder} is of user {owner}; we are {os.geteuid()} and cannot write it."
        yield problem("folders", found, f"sudo chown -R {os.geteuid()} '{folder}'")
    if not shut:
        yield ok("folders", f"{len(there)} folders of the state can be written.")


def _can_write(folder: Path) -> bool:
    return os.access(
        folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )


def _secret_files(place: Place) -> Iterator[Path]:
    with place.entered():
        keys = keys_place()
    with suppress(BundleError):  # a URL that is of no kind we know, as the server will say
        if not is_postgres(keys):
            yield file_of(keys, KEYS)
    yield Path(place.settings.get("AI_ASSETS_SIGNING_KEY") or place.home / "keys" / "signing.pem")
    yield place.home / "keys" / "pseudonyms.key"
    if key := place.settings.get("AI_ASSETS_TLS_KEY"):
        yield Path(key)
    for file in (place.project / DOTENV, place.project / "deploy" / DOTENV):
        if file.is_file() and _tells_a_secret(file):
            yield file


def _tells_a_secret(file: Path) -> bool:
    """Whether a line sets something that is called like a secret, or a URL with a password."""
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.startswith("#") or not value.strip("'\" "):
            continue
        if "://" in value and "@" in value:
            return True
        if any(word in name.upper().split("_") for word in _SECRET_WORDS):
            return True
    return False
