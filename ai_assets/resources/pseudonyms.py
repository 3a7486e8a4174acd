"""The key of pseudonyms: of this installation, made once, and known to nobody who has the lake."""

import os
import secrets
from pathlib import Path

from ai_assets.lifecycle.errors import DeclarationError
from ai_assets.lifecycle.placing import place_once, to_disk
from ai_assets.serving.place import state_root

VARIABLE = "AI_ASSETS_PSEUDONYM_KEY"
_LEAST = 16


def pseudonym_key() -> bytes:
    """`$AI_ASSETS_PSEUDONYM_KEY`, or the file `keys/pseudonyms.key` of the state, made if missing.

    Whoever loses it cannot make the same pseudonyms again; whoever has it can try values.

    Raises:
        DeclarationError: the variable, or the file, holds fewer than 16 characters.
    """
    if given := os.environ.get(VARIABLE):
        return _long_enough(given.encode(), VARIABLE)
    file = state_root() / "keys" / "pseudonyms.key"
    if not file.is_file():
        _make(file)
    return _long_enough(file.read_bytes(), str(file))


def _long_enough(key: bytes, where: str) -> bytes:
    if (length := len(key.decode(errors="replace"))) < _LEAST:
        raise DeclarationError(f"{where} must have at least {_LEAST} characters, but has {length}.")
    return key


def _make(file: Path) -> None:
    """Write a new key in one step, so that two processes that begin at once end with one key."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(secrets.token_hex(32).encode())
    place_once(draft, file)
    to_disk(file.parent)
