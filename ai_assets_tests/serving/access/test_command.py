"""`python -m ai_assets.serving.access`: keys are made, listed and revoked by command."""

import re
from pathlib import Path

import pytest

from ai_assets.serving.access.__main__ import main
from ai_assets.serving.access.keys import split_token
from ai_assets.serving.access.limits import Quota, Rate
from ai_assets.serving.access.sqlite import KeyFile

ADA = ["create", "--name", "ada", "--scope", "predict", "--scope", "explain"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands keep keys, by the setting."""
    monkeypatch.setenv("AI_ASSETS_KEYS", str(tmp_path / "access.sqlite"))
    return tmp_path / "access.sqlite"


def test_a_token_alone_is_printed_and_opens_the_key_that_is_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
):
    limits = ["--rate", "100/s", "--quota", "100000/day", "--expires", "90", "days"]

    assert main([*ADA, *limits]) == 0

    out, err = capsys.readouterr()
    identity, secret = split_token(out.strip()) or ("", "")
    (key,) = KeyFile(file).keys().values()
    assert key.id == identity and key.opens_with(secret)
    assert (key.name, key.scopes) == ("ada", {"predict", "explain"})
    assert (key.rate, key.quota) == (Rate(100, 1), Quota(100_000, 86400))
    assert key.expires_at == pytest.approx(key.created_at + 90 * 86400)
    assert secret not in err


def test_the_list_shows_everything_but_the_secret(file: Path, capsys: pytest.CaptureFixture[str]):
    main([*ADA, "--quota", "50/day"])
    main(["create", "--name", "bob", "--scope", "admin", "--expires", "90 days"])
    tokens = capsys.readouterr().out.split()
    (first, second) = (split_token(token) or ("", "") for token in tokens)

    assert main(["list"]) == 0

    shown = capsys.readouterr().out
    lines = [re.split(r"  +", line) for line in shown.splitlines()]
    assert lines[0] == ["id", "name", "scopes", "rate", "quota", "used", "expires", "state"]
    assert lines[1] == [first[0], "ada", "explain,predict", "-", "50/day", "0", "-", "active"]
    assert lines[2][:6] == [second[0], "bob", "admin", "-", "-", "-"]
    assert first[1] not in shown and second[1] not in shown


def test_a_key_is_revoked_by_its_id(file: Path, capsys: pytest.CaptureFixture[str]):
    main(ADA)
    (key,) = KeyFile(file).keys().values()

    assert main(["revoke", key.id]) == 0
    main(["list"])

    assert capsys.readouterr().out.splitlines()[-1].endswith("revoked")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "--name", "a", "--scope", "predikt"], "Did you mean 'predict'?"),
        ([*ADA, "--rate", "fast"], "rate must be a count"),
        ([*ADA, "--quota", "1/week"], "quota must be a count"),
        ([*ADA, "--expires", "soon"], "expires must be a span"),
        (["revoke", "abc"], "There is no key 'abc'"),
    ],
)
def test_a_mistake_is_one_sentence_and_makes_no_key(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
):
    assert main(arguments) == 1

    out, err = capsys.readouterr()
    assert words in err
    assert (out, err.count("\n"), KeyFile(file).keys()) == ("", 1, {})


def test_keys_lie_below_the_state_root_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AI_ASSETS_KEYS", raising=False)
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path))

    main(ADA)

    assert (tmp_path / "keys" / "access.sqlite").is_file()
