"""Logins of an identity provider: JSON Web Tokens beside our own keys.

A token is believed if the provider signed it (RS256 or ES256, with a key that it publishes for
that), for us, and not for another time. What it may ask for are those of its scopes that begin with
our prefix: `ai_assets:predict` is the scope `predict`.
"""

import importlib.util
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ai_assets.serving.access.jwks import OLD_S, KeySource, NoKeys
from ai_assets.serving.access.keys import SCOPES, AccessError, Key
from ai_assets.serving.access.limits import Rate, parse_rate
from ai_assets.serving.problems import Refused

if TYPE_CHECKING:
    from ai_assets.serving.settings import Settings

LEEWAY_S = 30.0
# The one algorithm that a kind of key may sign with. A token does not choose.
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_CLAIMS = ("scope", "scp")
_LONGEST_TOKEN = 8_192
_LONGEST_SUBJECT = 255
_MOST_REMEMBERED = 10_000
_log = logging.getLogger(__name__)


class Verifier:
    """Tells who a token is of.

    Args:
        issuer: the provider, as its tokens name it.
        audience: we, as its tokens name us.
        source: the provider's keys.
        prefix: what our scopes begin with in its tokens.
        rate: how often each subject may ask; no limit if None.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        source: KeySource,
        prefix: str = "ai_assets:",
        rate: Rate | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer, self._audience, self._prefix = issuer, audience, prefix
        self._source, self._rate, self._clock = source, rate, clock
        self._remembered: OrderedDict[bytes, Key] = OrderedDict()
        self._revision = 0

    @classmethod
    def of(cls, settings: "Settings") -> "Verifier | None":
        """What the settings ask for; None where no provider is named.

        Raises:
            AccessError: a setting or a package is missing, or the provider is not asked over https.
            LimitError: the rate is not written as one.
        """
        if not settings.oidc_issuer:
            if settings.oidc_audience or settings.oidc_jwks:
                raise AccessError("AI_ASSETS_OIDC_… needs AI_ASSETS_OIDC_ISSUER, the provider.")
            return None
        if not settings.oidc_audience:
            raise AccessError(
                "AI_ASSETS_OIDC_AUDIENCE must say how the provider's tokens name this server; "
                "without it tokens for others would be taken."
            )
        if not all(importlib.util.find_spec(name) for name in ("jwt", "cryptography")):
            raise AccessError(
                "Logins of an identity provider need a package that a bundle does without. Run\n"
                "  pip install 'pyjwt[crypto]'"
            )
        source = KeySource(settings.oidc_issuer, settings.oidc_jwks)
        rate = parse_rate(settings.oidc_rate) if settings.oidc_rate else None
        names = (settings.oidc_issuer, settings.oidc_audience)
        return cls(*names, source, settings.oidc_prefix, rate)

    @staticmethod
    def takes(token: str) -> bool:
        """Whether it has the form of such a token."""
        return token.count(".") == 2 and token.isascii()

    async def key(self, token: str) -> Key:
        """Who asks and for what, as a key with the id `oidc:<subject>`.

        Raises:
            Refused: 401 with what is wrong, 503 where the provider's keys cannot be had.
        """
        digest = sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        believed = self._revision == self._source.revision and self._source.age <= OLD_S
        if known is not None and believed and known.state(self._clock()) == "active":
            return known
        try:
            found = await self._verified(token)
        except NoKeys as error:
            raise Refused(
                503, "Logins cannot be checked now.", headers={"Retry-After": "5"}
            ) from error
        self._remember(digest, found)
        return found

    def _remember(self, digest: bytes, key: Key) -> None:
        if self._revision != self._source.revision:
            # A key may have been taken back, and with it what it signed.
            self._remembered.clear()
            self._revision = self._source.revision
        self._remembered[digest] = key
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _verified(self, token: str) -> Key:
        import jwt

        if len(token) > _LONGEST_TOKEN:
            raise _wrong(f"is longer than {_LONGEST_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _wrong("cannot be read") from None
        if "crit" in header:
            raise _wrong("demands what is not known here")
        document = await self._source.find(header.get("kid"))
        if document is None:
            raise _wrong("is signed with a key that its issuer does not publish")
        algorithm = _ALGORITHMS.get((document.get("kty", ""), document.get("crv")))
        # Whoever writes a header writes what they like, so its value need not be a text.
        given = (header.get("alg"), document.get("alg", algorithm))
        if algorithm is None or any(one != algorithm for one in given):
            raise _wrong(f"must be signed with {' or '.join(_ALGORITHMS.values())}")
        return self._key_of(self._claims(token, document, algorithm))

    def _claims(self, token: str, document: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
        """What the token says, once its signature is good.

        Raises:
            Refused: 401; the order is that of the checks, and the signature's is the first.
        """
        import jwt

        try:
            key = jwt.PyJWK(dict(document), algorithm)
            # By our own clock, not PyJWT's.
            options: Any = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options={**options, "verify_nbf": False},
            )
            times = {name: float(claims.get(name, 0)) for name in ("exp", "iat", "nbf")}
        except jwt.InvalidSignatureError:
            raise _wrong("has a signature that is not its issuer's") from None
        except jwt.InvalidAudienceError:
            raise _wrong("is for another audience") from None
        except jwt.InvalidIssuerError:
            raise _wrong("is of an issuer that is not trusted here") from None
        except jwt.MissingRequiredClaimError as error:
            raise _wrong(f"has no claim '{error.claim}'") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _wrong("is not valid") from None
        if not all(map(math.isfinite, times.values())):
            raise _wrong("is not valid")
        now = self._clock()
        if times["exp"] + LEEWAY_S <= now:
            raise _wrong("has expired")
        if max(times["iat"], times["nbf"]) - LEEWAY_S > now:
            raise _wrong("is not valid yet")
        return claims

    def _key_of(self, claims: Mapping[str, Any]) -> Key:
        subject = claims["sub"]
        # It is written to the log and told in errors.
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
            raise _wrong(f"must have a subject of at most {_LONGEST_SUBJECT} characters")
        if not subject.isprintable():
            raise _wrong("has a subject that cannot be printed")
        given = {word for claim in _CLAIMS for word in _words(claims.get(claim))}
        scopes = frozenset(scope for scope in SCOPES if f"{self._prefix}{scope}" in given)
        return Key(
            id=f"oidc:{subject}",
            name=subject,
            scopes=scopes,
            rate=self._rate,
            quota=None,
            created_at=float(claims["iat"]),
            expires_at=float(claims["exp"]) + LEEWAY_S,
        )


def _words(claim: Any) -> list[str]:
    """Scopes, as one text with spaces between or as a list: providers differ."""
    if isinstance(claim, str):
        return claim.split()
    return [word for word in claim if isinstance(word, str)] if isinstance(claim, list) else []


def _wrong(words: str) -> Refused:
    _log.info("refused a token that %s", words)
    challenge = 'Bearer realm="ai_assets", error="invalid_token"'
    return Refused(401, f"The token {words}.", headers={"WWW-Authenticate": challenge})
