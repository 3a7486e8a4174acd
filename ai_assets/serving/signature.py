"""The seal of a bundle: a manifest with the digest of each file, and a signature over it.

Both files are written in one canonical form, and any other form is refused, so that there is no
byte in a bundle that could change unnoticed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai_assets.lifecycle.errors import BundleError, must_be

FORMAT = 1
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
ALGORITHM = "ed25519"


def canonical(content: Mapping[str, Any]) -> bytes:
    """The one form in which the manifest and the signature are written."""
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of the folder except the seal itself, by relative path."""
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in read_files(folder).items()
        if name not in (MANIFEST, SIGNATURE)
    }


def read_files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by relative path.

    Raises:
        BundleError: the folder does not exist, or holds a link.
    """
    if not folder.is_dir():
        raise BundleError(f"A bundle must be a folder, but '{folder}' is none.")
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleError(f"{name} is a link; a bundle holds plain files only.")
        if path.is_file():
            found[name] = path.read_bytes()
    return found


def verified(
    folder: Path, trusted_key: str | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the content of the files, after everything was checked.

    What is returned is what was checked: nothing is read from the folder a second time.

    Args:
        folder: the bundle.
        trusted_key: the public key (hexadecimal) that must have signed; None takes any, which
            protects from damage but not from somebody who signs anew.

    Raises:
        BundleError: names the file that is missing, changed, too many or of another format.
    """
    files = read_files(folder)
    for name in (MANIFEST, SIGNATURE):
        if name not in files:
            raise BundleError(f"{name} is missing: the bundle is not signed.")
    _check_signature(files[MANIFEST], files[SIGNATURE], trusted_key)
    manifest = _parsed(MANIFEST, files[MANIFEST])
    if manifest.get("format") != FORMAT:
        raise BundleError(must_be(f"format of {MANIFEST}", str(FORMAT), manifest.get("format")))
    _check_files(manifest.get("files", {}), files)
    return manifest, files


def _check_signature(manifest: bytes, seal: bytes, trusted_key: str | None) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = _parsed(SIGNATURE, seal)
    if content.get("algorithm") != ALGORITHM:
        raise BundleError(
            must_be(f"algorithm of {SIGNATURE}", f"'{ALGORITHM}'", content.get("algorithm"))
        )
    key = str(content.get("public_key"))
    if trusted_key and key != trusted_key.strip().lower():
        raise BundleError(f"{SIGNATURE} is by the key {key}, but only {trusted_key} is trusted.")
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(str(content.get("signature"))), manifest)
    except ValueError as error:
        raise BundleError(f"{SIGNATURE} is damaged: {error}.") from error
    except InvalidSignature as error:
        raise BundleError(
            f"{MANIFEST} does not match {SIGNATURE}: one of them was changed after signing."
        ) from error


def _check_files(promised: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    for name, digest in promised.items():
        if name not in files:
            raise BundleError(f"{name} is missing from the bundle.")
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleError(f"{name} was changed after the bundle was signed.")
    extra = sorted(set(files) - set(promised) - {MANIFEST, SIGNATURE})
    if extra:
        raise BundleError(f"{extra[0]} is in the bundle but was not signed.")


def _parsed(name: str, content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{name} is damaged: {error}.") from error
    if not isinstance(read, dict) or canonical(read) != content:
        raise BundleError(f"{name} was changed: it is not in the form in which it was written.")
    return read
