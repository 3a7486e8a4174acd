"""Tokens of an identity provider at the gate: which are believed, and what the others are told."""

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from loopback_issuer import AUDIENCE, Issuer, issuer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.keys import new_key
from ai_assets.serving.access.middleware import AccessMiddleware
from ai_assets.serving.access.sqlite import KeyFile
from ai_assets.serving.settings import Settings


@dataclass
class Place:
    """A gate that takes tokens of the provider, behind it an app that says who asked."""

    provider: Issuer
    store: KeyFile
    client: TestClient

    def ask(self, token: str, path: str = "/predict") -> tuple[int, Any]:
        """The status, and who asked or what the error says."""
        answer = self.client.post(path, headers={"Authorization": f"Bearer {token}"})
        content = answer.json()
        return answer.status_code, content.get("key", content.get("error"))


async def who(request: Request) -> JSONResponse:
    """Who asked."""
    return JSONResponse({"key": request.state.key_id})


def guarded(gate: Gate) -> Starlette:
    """An app behind the gate."""
    routes = [Route(path, who, methods=["POST"]) for path in ("/predict", "/explain")]
    return Starlette(routes=routes, middleware=[Middleware(AccessMiddleware, gate=gate)])


@pytest.fixture
def provider() -> Iterator[Issuer]:
    """An identity provider of the test's own."""
    with issuer() as made:
        yield made


@pytest.fixture
def place(provider: Issuer, tmp_path: Path) -> Iterator[Place]:
    """A gate that the settings made."""
    keys = tmp_path / "access.sqlite"
    settings = Settings(
        access="keys", keys=str(keys), oidc_issuer=provider.url, oidc_audience=AUDIENCE
    )
    # One event loop for all requests, as a server has.
    with TestClient(guarded(Gate.of(settings))) as client:
        yield Place(provider, KeyFile(keys), client)


@pytest.mark.parametrize("key", ["r", "e"])
def test_a_token_of_the_provider_passes_and_its_subject_is_who_asked(place: Place, key: str):
    token = place.provider.token(key)

    assert [place.ask(token) for _ in range(3)] == [(200, "oidc:ada")] * 3
    assert place.provider.asked["/keys"] == 1


@pytest.mark.parametrize(
    ("claims", "explained"),
    [
        ({"scope": "ai_assets:explain ai_assets:predict"}, 200),
        ({"scope": None, "scp": ["ai_assets:explain"]}, 200),
        ({"scope": "ai_assets:predict"}, 403),
        ({"scope": "explain"}, 403),
        ({"scope": "ai_assets:explainer xai_assets:explain"}, 403),
        ({"scope": None}, 403),
        ({"scope": {"ai_assets:explain": 1}}, 403),
    ],
)
def test_scopes_are_those_of_ours_that_the_token_has(
    place: Place, claims: dict[str, Any], explained: int
):
    status, told = place.ask(place.provider.token(**claims), "/explain")

    assert status == explained
    if status == 403:
        assert told == "The key oidc:ada has not the scope 'explain', which this needs."


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": time.time() - 31}, "has expired"),
        ({"nbf": time.time() + 3600}, "is not valid yet"),
        ({"iat": time.time() + 3600}, "is not valid yet"),
        ({"exp": float("nan")}, "is not valid"),
        ({"exp": float("inf")}, "is not valid"),
        ({"exp": "soon"}, "is not valid"),
        ({"aud": "others"}, "is for another audience"),
        ({"aud": ["others", "flights.example"]}, "is for another audience"),
        ({"iss": "https://evil.example"}, "is of an issuer that is not trusted here"),
        ({"exp": None}, "has no claim 'exp'"),
        ({"sub": None}, "has no claim 'sub'"),
        ({"aud": None}, "has no claim 'aud'"),
        ({"sub": "x" * 256}, "must have a subject of at most 255 characters"),
        ({"sub": ""}, "must have a subject of at most 255 characters"),
        ({"sub": "ada\nadmin"}, "has a subject that cannot be printed"),
        ({"sub": 7}, "is not valid"),
    ],
)
def test_a_token_that_says_what_is_not_right_is_refused(
    place: Place, claims: dict[str, Any], words: str
):
    assert place.ask(place.provider.token(**claims)) == (401, f"The token {words}.")
    assert place.ask(place.provider.token()) == (200, "oidc:ada")


@pytest.mark.parametrize(
    "claims", [{"exp": time.time() - 5}, {"nbf": time.time() + 20}, {"aud": ["others", AUDIENCE]}]
)
def test_clocks_may_differ_a_little_and_an_audience_may_be_one_of_several(
    place: Place, claims: dict[str, Any]
):
    # The clock of the test that collected these may be minutes old.
    now = {name: time.time() - 5 if name == "exp" else time.time() + 20 for name in claims}
    moved = {name: claims[name] if name == "aud" else now[name] for name in claims}

    assert place.ask(place.provider.token(**moved)) == (200, "oidc:ada")


def unsigned(provider: Issuer) -> str:
    return jwt.encode(provider.claims(), None, "none", headers={"kid": "r"})


def by_the_public_key(provider: Issuer) -> str:
    """HMAC with the public key as the secret, which everybody knows."""
    pem = provider.signing["r"].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return put_together({"alg": "HS256", "kid": "r"}, provider.claims(), hmac, pem)


def put_together(header: dict[str, Any], claims: dict[str, Any], by: Any, key: Any) -> str:
    """A token as the format says, without what a library would not do."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(by.sign(body, key)).rstrip(b"=")
    return (body + b"." + signature).decode()


def by_another_key_of_that_name(provider: Issuer) -> str:
    stranger = rsa.generate_private_key(65537, 2048)
    return jwt.encode(provider.claims(), stranger, "RS256", headers={"kid": "r"})


def by_a_key_that_it_brings(provider: Issuer) -> str:
    stranger = ec.generate_private_key(ec.SECP256R1())
    shown = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    return jwt.encode(provider.claims(), stranger, "ES256", headers={"jwk": shown})


def of_a_stronger_kind(provider: Issuer) -> str:
    return jwt.encode(provider.claims(), provider.signing["r"], "RS512", headers={"kid": "r"})


def by_the_other_kind_of_key(provider: Issuer) -> str:
    return provider.token("e", {"kid": "r"})


def with_a_demand(provider: Issuer) -> str:
    rsa256 = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    header = {"alg": "RS256", "kid": "r", "crit": ["b64"], "b64": True}
    return put_together(header, provider.claims(), rsa256, provider.signing["r"])


def changed(provider: Issuer) -> str:
    head, body, signature = provider.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["scope"] = "ai_assets:predict ai_assets:admin"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{forged}.{signature}"


def with_header(**changed: Any) -> Callable[[Issuer], str]:
    """A token whose header nobody would write; its signature does not matter."""

    def forge(provider: Issuer) -> str:
        _, claims, signature = provider.token().split(".")
        header = json.dumps({"alg": "RS256", "kid": "r", **changed}).encode()
        return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{claims}.{signature}"

    return forge


SIGNED_WITH = "must be signed with RS256 or ES256"
UNKNOWN = "is signed with a key that its issuer does not publish"
FORGED = "has a signature that is not its issuer's"


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (unsigned, SIGNED_WITH),
        (by_the_public_key, SIGNED_WITH),
        (of_a_stronger_kind, SIGNED_WITH),
        (by_the_other_kind_of_key, SIGNED_WITH),
        (by_another_key_of_that_name, FORGED),
        (changed, FORGED),
        (by_a_key_that_it_brings, UNKNOWN),
        (lambda p: p.token("r", {"kid": "another"}), UNKNOWN),
        (lambda p: p.token("r", {"typ": "JWT"}), UNKNOWN),
        (with_header(alg=["RS256"]), SIGNED_WITH),
        (with_header(alg={"RS256": 1}), SIGNED_WITH),
        (with_header(alg=None), SIGNED_WITH),
        (with_header(kid=["r"]), "cannot be read"),
        (with_a_demand, "demands what is not known here"),
        (lambda p: p.token() + "A" * 8192, "is longer than 8192 characters"),
        (lambda p: "a.b.c", "cannot be read"),
        (lambda p: "..", "cannot be read"),
    ],
)
def test_a_token_that_the_provider_has_not_signed_is_refused(
    place: Place, forge: Callable[[Issuer], str], words: str
):
    token = forge(place.provider)

    answer = place.client.post("/predict", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["error"]) == (401, f"The token {words}.")
    challenge = 'Bearer realm="ai_assets", error="invalid_token"'
    assert answer.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("published", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "oct", "k": "YQ"}])
def test_a_key_that_is_published_for_something_else_is_not_believed(
    place: Place, published: dict[str, str]
):
    place.provider.publish("r", **published)

    assert place.ask(place.provider.token())[0] == 401


def test_keys_of_our_own_pass_beside_the_tokens(place: Place):
    key, token = new_key("bob", ["predict"], time.time())
    place.store.add(key)

    assert place.ask(token) == (200, key.id)
    assert place.ask(place.provider.token()) == (200, "oidc:ada")


def test_a_gate_without_a_provider_takes_no_token(provider: Issuer, tmp_path: Path):
    gate = Gate.of(Settings(access="keys", keys=str(tmp_path / "access.sqlite")))
    with TestClient(guarded(gate)) as client:
        place = Place(provider, KeyFile(tmp_path / "access.sqlite"), client)

        assert place.ask(provider.token()) == (401, "The key is not valid.")


def test_neither_log_nor_error_shows_the_token(place: Place, caplog: pytest.LogCaptureFixture):
    token = place.provider.token(exp=time.time() - 3600)

    with caplog.at_level(logging.DEBUG, "ai_assets"):
        _, told = place.ask(token)

    shown = caplog.text + told
    assert "refused a token that has expired" in caplog.text
    assert not any(part in shown for part in token.split("."))


def test_a_subject_asks_no_oftener_than_the_setting_allows(provider: Issuer, tmp_path: Path):
    settings = Settings(
        access="keys", keys=str(tmp_path / "access.sqlite"), oidc_issuer=provider.url,
        oidc_audience=AUDIENCE, oidc_rate="2/h",
    )  # fmt: skip
    with TestClient(guarded(Gate.of(settings))) as client:
        place = Place(provider, KeyFile(tmp_path / "access.sqlite"), client)
        # Another token of the same person is the same person.
        statuses = [place.ask(provider.token(jti=str(n)))[0] for n in range(3)]
        other = place.ask(provider.token(sub="bob"))[0]

    assert (statuses, other) == ([200, 200, 429], 200)
