"""Modes of files with secrets."""

from dataclasses import replace

from ai_assets.doctor import permissions
from ai_assets.doctor.place import Place
from ai_assets.resources.signer import Signer


def test_a_signing_key_as_the_signer_makes_it_is_fine(place: Place) -> None:
    key = place.home / "keys" / "signing.pem"
    Signer(key_path=str(key)).public_key()

    (line,) = permissions.secrets(place)

    assert (line.mood, line.found) == ("ok", "1 files with secrets, each for its owner alone.")


def test_secrets_that_others_can_read_are_problems_with_their_command(place: Place) -> None:
    key = place.home / "keys" / "signing.pem"
    Signer(key_path=str(key)).public_key()
    key.chmod(0o640)
    env = place.project / ".env"
    with env.open("a", encoding="utf-8") as file:
        file.write("AI_ASSETS_LOG='postgresql://ada:pass@host/db'\n")
    env.chmod(0o644)

    lines = list(permissions.secrets(replace(place)))

    assert [line.mood for line in lines] == ["problem", "problem"]
    assert lines[0].found == f"{key} has mode 0640: others of this machine may read it."
    assert [line.do for line in lines] == [f"chmod 600 '{key}'", f"chmod 600 '{env}'"]


def test_an_env_without_a_secret_may_be_read_by_all(place: Place) -> None:
    (place.project / ".env").chmod(0o644)

    (line,) = permissions.secrets(place)

    assert (line.mood, line.found) == ("ok", "0 files with secrets, each for its owner alone.")


def test_the_certificate_s_key_is_a_secret_too(place: Place) -> None:
    key = place.project / "server.key"
    key.write_text("secret", encoding="utf-8")
    key.chmod(0o604)

    (line,) = permissions.secrets(replace(place, given={"AI_ASSETS_TLS_KEY": str(key)}))

    assert (line.mood, line.do) == ("problem", f"chmod 600 '{key}'")
