"""How a server runs. Every setting has an environment variable `AI_ASSETS_<NAME>`."""

import os
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ai_assets.lifecycle.errors import BundleError, must_be
from ai_assets.serving.online import lake_root
from ai_assets.serving.place import bundle_store, keys_place

ACCESS = "AI_ASSETS_ACCESS"
_MAY_BE_0 = ("cache", "grpc_port", "logs_answered")


@dataclass(frozen=True)
class Settings:
    """Limits and places.

    Attributes:
        product: the product whose release is followed; empty serves one bundle, always the same.
        bundles: folder of the bundle store, where released bundles lie.
        lake: folder or URL of the lake that time-varying tables are read from.
        log: path or URL of the record of answers, with `{product}` for the product's name; a file
            below the state root if empty.
        log_mode: `durable`, `async` or `off`; what the product declares if empty.
        access: `keys`, or `open`: no key is asked for, and this machine alone is answered.
        keys: path or URL of the API keys: a file, or a PostgreSQL database, where servers of
            several hosts share them.
        oidc_issuer: identity provider whose tokens are taken beside keys; none if empty.
        oidc_audience: how its tokens name this server.
        oidc_jwks: file or URL of its keys; asked of the provider if empty.
        oidc_prefix: what our scopes begin with in its tokens.
        oidc_rate: how often each of its subjects may ask, such as `100/s`; no limit if empty.
        tls_cert: certificate of the server; without it there is no TLS.
        tls_key: its private key.
        tls_client_ca: authorities of clients, who then need certificates too.
        trusted_key: public key that must have signed the bundle; any if empty.
        max_rows: most rows of a request.
        max_body: most bytes of a request.
        batch_rows: most rows that are scored together.
        max_waiting: rows that may wait before requests are refused with 503.
        max_seconds: how long a request may wait to be scored, and again to be recorded; then it
            is refused with 503. A server that is stopped waits as long for what is under way.
        max_shadow: rows that may wait for a shadow; what comes beyond is not shown to it.
        cache: small requests whose answers each bundle keeps for who asks the same again; 0 keeps
            none.
        explain_rows: most rows of a request for explanations.
        streams: callers that may send rows one by one at the same time.
        stream_seconds: how long one of them may send no row, or take no answer; then its stream
            ends.
        stream_rows: rows of one such caller that are scored at the same time.
        check_seconds: time between two looks for newer tables, and for a newer release.
        threads: threads of the model. One answers small requests soonest.
        shared: folder that the workers of one server share; empty for a single one.
        grpc_host: address that gRPC listens on.
        grpc_port: port that gRPC listens on; 0 serves none.
        logs: `text`, or `json`: one object a line.
        logs_answered: share of answered requests that get a line too, from 0 to 1.
        traces: URL of an OTLP collector, or `on` or `off`; if empty, on where
            `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector.
    """

    product: str = ""
    bundles: str = field(default_factory=lambda: str(bundle_store()))
    lake: str = field(default_factory=lake_root)
    log: str = ""
    log_mode: str = ""
    access: str = field(default_factory=lambda: os.environ.get(ACCESS) or "keys")
    keys: str = field(default_factory=keys_place)
    oidc_issuer: str = ""
    oidc_audience: str = ""
    oidc_jwks: str = ""
    oidc_prefix: str = "ai_assets:"
    oidc_rate: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    trusted_key: str = ""
    max_rows: int = 1000
    max_body: int = 2_000_000
    batch_rows: int = 512
    max_waiting: int = 4096
    max_seconds: float = 30.0
    max_shadow: int = 512
    cache: int = 0
    explain_rows: int = 16
    streams: int = 64
    stream_seconds: float = 300.0
    stream_rows: int = 32
    check_seconds: float = 5.0
    threads: int = 1
    shared: str = ""
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 0
    logs: str = "text"
    logs_answered: float = 0.0
    traces: str = ""

    def environment(self) -> dict[str, str]:
        """The environment that gives these settings again."""
        return {f"AI_ASSETS_{s.name.upper()}": str(getattr(self, s.name)) for s in fields(self)}

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name not in _MAY_BE_0 and not isinstance(value, str) and not value > 0:
                raise BundleError(must_be(setting.name, "greater than 0", value))
        if not 0 <= self.logs_answered <= 1:
            raise BundleError(must_be("logs_answered", "between 0 and 1", self.logs_answered))
        if self.cache < 0:
            raise BundleError(must_be("cache", "at least 0", self.cache))
        if not 0 <= self.grpc_port < 65536:
            raise BundleError(must_be("grpc_port", "between 0 and 65535", self.grpc_port))

    @classmethod
    def from_environment(cls) -> "Settings":
        """The settings that the environment gives, and defaults for the others."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            text = os.environ.get(f"AI_ASSETS_{setting.name.upper()}")
            # Compose and Kubernetes pass on what nobody set as empty: no place is of that name.
            if text is None or (not text and setting.default_factory is not MISSING):
                continue
            kind: Any = setting.type
            try:
                given[setting.name] = kind(text)
            except ValueError as error:
                name = f"AI_ASSETS_{setting.name.upper()}"
                raise BundleError(must_be(name, "a number", text)) from error
        return cls(**given)
