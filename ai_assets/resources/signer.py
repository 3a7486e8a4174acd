"""The signer: a local Ed25519 key, and the seal that it puts on a bundle's folder.

`python -m ai_assets.resources.signer` shows the public key, for `AI_ASSETS_TRUSTED_KEY` of servers.
"""

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from ai_assets.lifecycle.errors import BundleError
from ai_assets.lifecycle.placing import place_once, to_disk
from ai_assets.serving import signature
from ai_assets.serving.place import state_root

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY = "AI_ASSETS_SIGNING_KEY"


class Signer(dg.ConfigurableResource):
    """Signs bundles. The key is made at first use and never leaves this machine."""

    key_path: str = Field(
        default="",
        description=f"PEM file of the private key; default: ${KEY}, or keys/signing.pem.",
    )

    @property
    def path(self) -> Path:
        """The file of the private key."""
        given = self.key_path or os.environ.get(KEY)
        return Path(given) if given else state_root() / "keys" / "signing.pem"

    def public_key(self) -> str:
        """What verifies the signatures, in hexadecimal; give it to servers as the trusted key."""
        return self._key().public_key().public_bytes_raw().hex()

    def sign(self, folder: Path, facts: dict[str, Any]) -> str:
        """Write `manifest.json` and `signature.json` into the folder.

        The same files, facts and key give the same seal.

        Args:
            folder: the complete payload; files added later make the bundle invalid.
            facts: what `serving.bundle.manifest_facts` gives.

        Returns:
            The digest of the content, which the bundle's tag is made of.
        """
        from ai_assets.serving.bundle import payload_digest

        files = signature.file_digests(folder)
        manifest = signature.canonical({"format": signature.FORMAT, **facts, "files": files})
        seal = {
            "algorithm": signature.ALGORITHM,
            "public_key": self.public_key(),
            "signature": self._key().sign(manifest).hex(),
        }
        (folder / signature.MANIFEST).write_bytes(manifest)
        (folder / signature.SIGNATURE).write_bytes(signature.canonical(seal))
        return payload_digest(manifest)

    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self.path
        if not path.exists():
            _make_key(path)
        if path.stat().st_mode & 0o077:
            raise BundleError(f"Others can read the signing key. Run: chmod 600 '{path}'")
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise BundleError(f"'{path}' is no private key in PEM without password.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BundleError(f"'{path}' must hold an Ed25519 key.")
        return key


def _make_key(path: Path) -> None:
    """Make a key. Of several processes at once, one wins and all use its key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    draft = path.with_name(f".{uuid.uuid4().hex}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    place_once(draft, path)
    to_disk(path.parent)


if __name__ == "__main__":
    print(Signer().public_key())
