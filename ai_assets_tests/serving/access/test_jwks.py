"""The provider's keys: when they are fetched, what happens when they change or cannot be had."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_issuer import AUDIENCE, DISCOVERY, Issuer, issuer

from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.access import jwks
from ai_assets.serving.access.gate import Gate
from ai_assets.serving.access.jwks import AGAIN_S, OLD_S, OLDEST_S, KeySource
from ai_assets.serving.access.keys import AccessError
from ai_assets.serving.access.oidc import LEEWAY_S, Verifier
from ai_assets.serving.problems import Refused
from ai_assets.serving.settings import Settings


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Issuer]:
    """An identity provider of the test's own."""
    with issuer() as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    """The clock that the age of keys is measured by."""
    return Clock()


def verifier(provider: Issuer, clock: Clock, place: str = "") -> Verifier:
    return Verifier(provider.url, AUDIENCE, KeySource(provider.url, place, clock))


def asked(by: Verifier, *tokens: str) -> str | int | list[str | int]:
    """Who each token is of, or the status of the refusal; all ask at once, in one event loop."""

    async def one(token: str) -> str | int:
        try:
            return (await by.key(token)).id
        except Refused as refused:
            return refused.status

    async def every() -> list[str | int]:
        found = await asyncio.gather(*map(one, tokens))
        # What was begun behind the answers has ended, too.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return found

    found = asyncio.run(every())
    return found[0] if len(found) == 1 else found


def test_a_new_key_of_the_provider_is_taken_without_a_restart(provider: Issuer, clock: Clock):
    provider.publish("r")
    tells = verifier(provider, clock)
    first = asked(tells, provider.token("r"))

    provider.publish("r", "e")
    clock.now += AGAIN_S
    second = asked(tells, provider.token("e"))

    assert (first, second, provider.asked["/keys"]) == ("oidc:ada", "oidc:ada", 2)


def test_tokens_with_invented_keys_cannot_make_us_ask_often(provider: Issuer, clock: Clock):
    tells = verifier(provider, clock)
    refused = [asked(tells, provider.token("r", {"kid": f"x{n}"})) for n in range(50)]
    at_once = asked(tells, *(provider.token("r", {"kid": f"y{n}"}) for n in range(20)))

    assert refused == [401] * 50
    assert at_once == [401] * 20
    assert provider.asked["/keys"] == 1
    clock.now += AGAIN_S
    asked(tells, provider.token("r", {"kid": "z"}))
    assert provider.asked["/keys"] == 2


def test_a_key_that_is_taken_back_is_not_believed_any_more(provider: Issuer, clock: Clock):
    tells = verifier(provider, clock)
    token = provider.token("r")
    before = asked(tells, token)

    provider.publish("e")
    within = asked(tells, token)
    clock.now += OLD_S + 1
    # This one is answered by the known keys while the new ones come.
    during = asked(tells, token)
    after = asked(tells, token)

    assert (before, within, during, after) == ("oidc:ada", "oidc:ada", "oidc:ada", 401)


def test_known_keys_go_on_while_the_provider_is_away_but_not_for_ever(
    provider: Issuer, clock: Clock
):
    tells = verifier(provider, clock)
    token = provider.token("r")
    answers = [asked(tells, token)]

    published = provider.documents.pop("/keys")
    for later in (OLD_S + 1, AGAIN_S, OLDEST_S):
        clock.now += later
        answers.append(asked(tells, token))
    provider.documents["/keys"] = published
    clock.now += AGAIN_S
    answers.append(asked(tells, token))

    assert answers == ["oidc:ada", "oidc:ada", "oidc:ada", 503, "oidc:ada"]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/keys", None),
        ("/keys", {}),
        ("/keys", {"keys": ["r"]}),
        ("/keys", {"keys": [], "filler": "x" * 1_100_000}),
        ("/keys", "/elsewhere"),
        (DISCOVERY, None),
        (DISCOVERY, {"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}),
        (DISCOVERY, {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}),
        (DISCOVERY, {"issuer": "{url}", "jwks_uri": "http://keys.example/"}),
    ],
)
def test_without_keys_nobody_passes_and_later_they_do(
    provider: Issuer, clock: Clock, path: str, document: object
):
    good = dict(provider.documents)
    text = json.dumps(document).replace("{url}", provider.url)
    provider.documents.update({path: json.loads(text), "/elsewhere": good["/keys"]})
    tells = verifier(provider, clock)
    first = asked(tells, provider.token())

    provider.documents.update(good)
    too_soon = asked(tells, provider.token())
    clock.now += AGAIN_S
    later = asked(tells, provider.token())

    assert (first, too_soon, later) == (503, 503, "oidc:ada")


@pytest.mark.parametrize("path", ["/keys", DISCOVERY])
@pytest.mark.parametrize(
    "answer", [b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200, b""]
)
def test_a_provider_that_speaks_no_http_is_as_one_that_is_away(
    provider: Issuer, clock: Clock, path: str, answer: bytes
):
    good = dict(provider.documents)
    provider.documents[path] = answer
    tells = verifier(provider, clock)
    first = asked(tells, provider.token())

    provider.documents.update(good)
    clock.now += AGAIN_S

    assert (first, asked(tells, provider.token())) == (503, "oidc:ada")


@pytest.mark.parametrize("path", ["/keys", DISCOVERY])
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nA:"]
)
def test_a_provider_that_drips_bytes_is_cut_off(
    provider: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str, head: bytes
):
    monkeypatch.setattr(jwks, "_TIMEOUT_S", 0.5)
    good = dict(provider.documents)
    provider.documents[path] = [head, *[b" "] * 200]
    tells, began = verifier(provider, clock), time.monotonic()
    first = asked(tells, provider.token())
    took = time.monotonic() - began

    monkeypatch.undo()
    provider.documents.update(good)
    clock.now += AGAIN_S

    assert (first, asked(tells, provider.token())) == (503, "oidc:ada")
    assert took < 5


def test_keys_may_lie_in_a_file_and_nobody_is_asked(provider: Issuer, clock: Clock, tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(provider.documents["/keys"]), encoding="utf-8")

    assert asked(verifier(provider, clock, str(file)), provider.token()) == "oidc:ada"
    assert not provider.asked


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"oidc_issuer": "http://id.example"}, "AI_ASSETS_OIDC_ISSUER must be an https:// URL"),
        ({"oidc_issuer": "id.example"}, "AI_ASSETS_OIDC_ISSUER must be an https:// URL"),
        ({"oidc_jwks": "http://id.example/keys"}, "AI_ASSETS_OIDC_JWKS must be an https:// URL"),
        ({"oidc_jwks": "ftp://id.example/keys"}, "AI_ASSETS_OIDC_JWKS must be an https:// URL"),
        ({"oidc_audience": ""}, "AI_ASSETS_OIDC_AUDIENCE must say"),
        ({"oidc_issuer": ""}, "needs AI_ASSETS_OIDC_ISSUER"),
        ({"oidc_rate": "often"}, "rate must be a count for each s, min, h or day"),
    ],
)
def test_a_setting_that_is_missing_or_not_safe_is_found_at_the_start(
    changed: dict[str, str], words: str, tmp_path: Path
):
    good = {"oidc_issuer": "https://id.example", "oidc_audience": AUDIENCE}
    base = {"access": "keys", "keys": str(tmp_path / "access.sqlite")}
    Gate.of(Settings(**base, **good))

    with pytest.raises((AccessError, UserError)) as refused:
        Gate.of(Settings(**base, **{**good, **changed}))

    assert words in str(refused.value)


def test_the_signature_of_a_token_is_checked_once(
    provider: Issuer, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    tells = verifier(provider, clock)
    token = provider.token()

    first = asked(tells, token)
    monkeypatch.setattr("jwt.decode", lambda *_, **__: 1 / 0)

    assert (first, asked(tells, token)) == ("oidc:ada", "oidc:ada")


def test_all_tokens_of_a_key_that_is_taken_back_are_forgotten_once_another_is_believed(
    provider: Issuer,
):
    clock = Clock()
    tells = verifier(provider, clock)
    taken, stays = provider.token("r", sub="bob"), provider.token("e")
    before = asked(tells, taken)

    provider.publish("e")
    clock.now += OLD_S + 1
    # The first fetches keys behind its answer, the second is the first to be believed by them.
    others = [asked(tells, stays) for _ in range(2)]

    assert (before, others) == ("oidc:bob", ["oidc:ada"] * 2)
    assert asked(tells, taken) == 401


def test_a_token_that_was_believed_is_refused_once_it_has_expired(provider: Issuer):
    later = 0.0
    source = KeySource(provider.url, "", Clock())
    tells = Verifier(provider.url, AUDIENCE, source, clock=lambda: time.time() + later)
    token = provider.token(exp=time.time() + 60)
    before = asked(tells, token)
    later = 60 + LEEWAY_S - 10
    within = asked(tells, token)
    later += 20

    assert (before, within, asked(tells, token)) == ("oidc:ada", "oidc:ada", 401)


def test_a_provider_that_calls_itself_otherwise_is_not_believed(provider: Issuer):
    provider.documents[DISCOVERY]["issuer"] = "https://evil.example"

    assert asked(verifier(provider, Clock()), provider.token()) == 503
    assert provider.asked["/keys"] == 0
