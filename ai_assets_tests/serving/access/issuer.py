"""An identity provider on loopback: it publishes keys, and signs whatever a test asks for."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ai_assets_tests.http_servers import served

AUDIENCE = "flights"
DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """A provider with an RSA key `r` and an EC key `e`.

    Attributes:
        url: the issuer.
        documents: what it answers, by path: JSON, a text that says where it is now, or bytes
            in the place of HTTP, or a list of them, sent one each twentieth of a second.
        asked: how often each path was asked for.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.signing: dict[str, Any] = {
            "r": rsa.generate_private_key(65537, 2048),
            "e": ec.generate_private_key(ec.SECP256R1()),
        }
        self.asked: Counter[str] = Counter()
        self.documents: dict[str, Any] = {
            DISCOVERY: {"issuer": url, "jwks_uri": f"{url}/keys"},
        }
        self.publish("r", "e")

    def public(self, name: str, **changed: Any) -> dict[str, Any]:
        """The public key as its document of keys shows it."""
        kind = jwt.algorithms.RSAAlgorithm if name[0] == "r" else jwt.algorithms.ECAlgorithm
        shown: dict[str, Any] = kind.to_jwk(self.signing[name].public_key(), as_dict=True)
        return {**shown, "kid": name, "use": "sig", **changed}

    def publish(self, *names: str, **changed: Any) -> None:
        """Publish these keys and no others."""
        keys = [self.public(name, **changed) for name in names]
        self.documents["/keys"] = {"keys": keys}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims of a token for us that is good for five minutes; None takes one away."""
        now = time.time()
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300}
        merged = {**usual, "scope": "openid ai_assets:predict", **changed}
        return {name: value for name, value in merged.items() if value is not None}

    def token(self, key: str = "r", header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A token signed with the key."""
        algorithm = "RS256" if key[0] == "r" else "ES256"
        return jwt.encode(
            self.claims(**changed), self.signing[key], algorithm, headers=header or {"kid": key}
        )


@contextmanager
def issuer() -> Iterator[Issuer]:
    """A provider that answers on a free port of loopback."""
    made: Issuer

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked[self.path] += 1
            document = made.documents.get(self.path)
            if isinstance(document, bytes):
                self.wfile.write(document)
                return
            if isinstance(document, list):
                with suppress(OSError):  # the other side hangs up
                    for piece in document:
                        self.wfile.write(piece)
                        time.sleep(0.05)
                return
            moved = isinstance(document, str)
            self.send_response(302 if moved else 404 if document is None else 200)
            if isinstance(document, str):
                self.send_header("Location", document)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with served(Answering) as address:
        made = Issuer(address)
        yield made
