"""TLS of a server, and mutual TLS: who connects shows a certificate too.

A certificate of a client opens the connection only. Who asks, and for what, is still said by a key.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.serving.access.keys import AccessError

if TYPE_CHECKING:
    from ai_assets.serving.settings import Settings


@dataclass(frozen=True)
class Tls:
    """PEM files of a server.

    Attributes:
        certificate: the server's certificate, and those between it and its authority.
        key: its private key, without a password.
        client_ca: the authorities of clients; nobody else may connect. None asks for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None

    @classmethod
    def of(cls, settings: "Settings") -> "Tls | None":
        """What the settings ask for; None for a server without TLS.

        Raises:
            AccessError: a part is missing, a file cannot be read, or they do not belong together.
        """
        given = (settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        if not any(given):
            return None
        if not settings.tls_cert or not settings.tls_key:
            raise AccessError(
                "TLS needs a certificate and its key: give both --tls-cert and --tls-key "
                "(AI_ASSETS_TLS_CERT, AI_ASSETS_TLS_KEY)."
            )
        certificate, key, client_ca = (Path(path) for path in given)
        made = cls(certificate, key, client_ca if settings.tls_client_ca else None)
        made._check()
        return made

    def for_uvicorn(self) -> dict[str, Any]:
        """Arguments of `uvicorn.run`."""
        found: dict[str, Any] = {"ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        if self.client_ca:
            found |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return found

    def for_grpc(self) -> Any:
        """The credentials of a gRPC server."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
            require_client_auth=self.client_ca is not None,
        )

    def _check(self) -> None:
        for path in (self.certificate, self.key, self.client_ca):
            try:
                if path is not None:
                    path.read_bytes()
            except OSError as error:
                raise AccessError(f"{path} cannot be read: {error.strerror}.") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # A key with a password must not ask whoever starts the server in the background.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except ssl.SSLError as error:
            raise AccessError(
                f"{self.certificate} and {self.key} must be a certificate in PEM and its key "
                f"without a password: {error.reason or 'they are not'}."
            ) from error
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except ssl.SSLError as error:
            raise AccessError(
                f"{self.client_ca} must hold certificates in PEM, but holds none."
            ) from error


def leave_to_bentoml(settings: "Settings") -> None:
    """Refuse settings of TLS that would be for nothing: BentoML listens itself.

    Raises:
        AccessError: says how to ask BentoML.
    """
    if settings.tls_cert or settings.tls_key or settings.tls_client_ca:
        raise AccessError(
            "AI_ASSETS_TLS_… is for `python -m ai_assets.serving`. BentoML has options of its own: "
            "bentoml serve --ssl-certfile … --ssl-keyfile … --ssl-ca-certs … --ssl-cert-reqs 2."
        )
