"""A key: its token, what is kept of it, and what is refused when one is made."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_assets.serving.access.keys import AccessError, new_key, split_token

NOW = 1_000_000.0


def test_a_token_holds_the_id_and_a_secret_that_opens_the_key():
    key, token = new_key("ada", ["predict"], NOW)

    assert re.fullmatch(r"aia_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    identity, secret = split_token(token) or ("", "")
    assert identity == key.id
    assert key.opens_with(secret)
    assert not key.opens_with(secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    assert secret not in repr(key)


def test_two_keys_share_neither_secret_nor_digest():
    (one, first), (other, second) = new_key("a", ["predict"], NOW), new_key("a", ["predict"], NOW)

    assert first != second
    assert one.digest != other.digest
    assert len(one.digest) == 32


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "state"),
    [
        (None, None, "active"),
        (NOW + 1, None, "active"),
        (NOW, None, "expired"),
        (None, 5, "revoked"),
    ],
)
def test_a_key_is_active_until_it_is_revoked_or_expires(expires_at, revoked_at, state):
    key, _ = new_key("ada", ["predict"], 0.0, expires_at=expires_at)

    assert replace(key, revoked_at=revoked_at).state(NOW) == state


@pytest.mark.parametrize(
    ("name", "scopes", "words"),
    [
        ("ada", ["predikt"], "Did you mean 'predict'"),
        ("ada", [], "scope must be one of 'predict', 'explain', 'feedback', 'admin'"),
        (" ", ["predict"], "name must be 1 to 80 printable characters"),
        ("a\nb", ["predict"], "name must be"),
        ("a" * 81, ["predict"], "name must be"),
    ],
)
def test_a_key_with_a_wrong_name_or_scope_is_not_made(name: str, scopes: list[str], words: str):
    with pytest.raises(AccessError, match=re.escape(words)):
        new_key(name, scopes, NOW)


@pytest.mark.parametrize(
    "text", ["", "aia", "aia__", "aia_1_", "bia_1_2", "aia_1_é", "aia_1_" + "2" * 200]
)
def test_what_has_not_the_form_of_a_token_has_no_parts(text: str):
    assert split_token(text) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_tokens(text: str):
    parts = split_token(f"aia_{text}")

    assert parts is None or (parts[0] + "_" + parts[1] == text)
