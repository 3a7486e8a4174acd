"""What `.env` and the environment say."""

import re
from dataclasses import replace
from pathlib import Path

from ai_assets.doctor import environment
from ai_assets.doctor.known import known_settings
from ai_assets.doctor.place import Place


def unset(place: Place) -> Place:
    """The checkout before `make setup`."""
    (place.project / ".env").unlink()
    return replace(place)


def test_what_make_setup_writes_is_as_it_must_be(place: Place) -> None:
    (env,), (root,), (home,), (settings,) = (
        list(check(place))
        for check in (
            environment.dotenv,
            environment.state_root,
            environment.dagster_home,
            environment.settings,
        )
    )

    assert (env.mood, root.mood, home.mood, settings.mood) == ("ok",) * 4
    assert env.found.endswith("/.env sets AI_ASSETS_ACCESS, AI_ASSETS_HOME, DAGSTER_HOME.")
    assert home.found == f"{place.home}/dagster, with the dagster.yaml of this checkout."


def test_without_a_state_folder_it_is_told_what_dagster_does(place: Place) -> None:
    bare = unset(place)

    (env,) = environment.dotenv(bare)
    (root,) = environment.state_root(bare)
    (home,) = environment.dagster_home(bare)

    assert (env.mood, env.do) == ("warning", "make setup")
    assert root.mood == "warning" and "go to .state of whichever folder" in root.found
    assert home.mood == "problem"
    assert "keeps runs in a temporary folder and forgets them, with exit code 0" in home.found


def test_an_environment_that_env_overrules_is_told(place: Place) -> None:
    other = replace(place, given={"DAGSTER_HOME": "/elsewhere"})

    (line,) = environment.dotenv(other)

    assert line.mood == "warning"
    assert f"DAGSTER_HOME is /elsewhere outside and {place.home}/dagster in it." in line.found


def test_homes_that_dagster_refuses_or_half_reads_are_problems(place: Place) -> None:
    file = place.home / "dagster" / "dagster.yaml"
    file.unlink()
    (without,) = environment.dagster_home(place)
    file.symlink_to("/gone/dagster.yaml")
    (dangling,) = environment.dagster_home(place)
    (relative,) = environment.dagster_home(replace(unset(place), given={"DAGSTER_HOME": "state"}))
    (absent,) = environment.dagster_home(replace(place, given={"DAGSTER_HOME": "/no/such/folder"}))

    assert {one.mood for one in (without, dangling, relative, absent)} == {"problem"}
    assert "has no dagster.yaml: killed runs are neither noticed nor retried" in without.found
    assert "is a link to /gone/dagster.yaml, which is gone." in dangling.found
    assert "state is no absolute path: Dagster refuses it." in relative.found
    assert "/no/such/folder is no folder" in absent.found


def test_a_setting_that_nobody_reads_is_told_with_the_nearest_one(place: Place) -> None:
    mistyped = replace(place, given={"AI_ASSETS_MAX_ROW": "5"})

    (line,) = environment.settings(mistyped)

    assert line.mood == "warning"
    assert line.found == ("Nothing reads AI_ASSETS_MAX_ROW. Did you mean 'AI_ASSETS_MAX_ROWS'?")


def test_settings_that_a_server_refuses_are_problems(place: Place) -> None:
    (number,) = environment.settings(replace(place, given={"AI_ASSETS_MAX_ROWS": "many"}))
    (place.project / ".env").write_text("AI_ASSETS_ACCESS='opn'\n", encoding="utf-8")
    (mode,) = environment.settings(replace(place))

    assert (number.mood, mode.mood) == ("problem", "problem")
    assert number.found == "AI_ASSETS_MAX_ROWS must be a number, but got 'many'."
    assert mode.found == (
        "AI_ASSETS_ACCESS must be one of 'keys', 'open', but got 'opn'. Did you mean 'open'?"
    )


def test_every_setting_that_the_code_names_is_known(repo_root: Path) -> None:
    named: set[str] = set()
    for file in (repo_root / "ai_assets").rglob("*.py"):
        named |= set(re.findall(r'"(AI_ASSETS_[A-Z_]+[A-Z])"', file.read_text(encoding="utf-8")))

    assert len(named) > 10
    assert named - set(known_settings()) == set()
