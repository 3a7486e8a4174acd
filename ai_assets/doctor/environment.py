"""What `.env` and the environment say, and what Dagster does where they say nothing."""

from collections.abc import Iterator

from ai_assets.doctor.known import is_known, known_settings
from ai_assets.doctor.line import Line, ok, problem, warning
from ai_assets.doctor.place import DOTENV, Place
from ai_assets.lifecycle.errors import UserError, did_you_mean, must_be

_PREFIX = "AI_ASSETS_"
_TAKE_IT = "set -a; source .env; set +a"
_PLACES = ("AI_ASSETS_HOME", "DAGSTER_HOME")


def dotenv(place: Place) -> Iterator[Line]:
    """Whether `.env` is there, and says what the environment says."""
    file = place.project / DOTENV
    if not file.is_file():
        found = f"There is no {file}: commands here know of no state folder by themselves."
        yield warning(".env", found, "make setup")
        return
    others = [n for n in _PLACES if n in place.given and n in place.written]
    others = [name for name in others if place.given[name] != place.written[name]]
    if not others:
        yield ok(".env", f"{file} sets {', '.join(sorted(place.written)) or 'nothing'}.")
        return
    said = ", ".join(
        f"{n} is {place.given[n]} outside and {place.written[n]} in it" for n in others
    )
    do = f"{_TAKE_IT}, or change {DOTENV}: AI_ASSETS_HOME=/path make setup"
    yield warning(".env", f"{said}. A `dagster` command started beside it takes that of .env.", do)


def dagster_home(place: Place) -> Iterator[Line]:
    """Whether Dagster finds its instance: what it would do, told."""
    given = place.settings.get("DAGSTER_HOME")
    if not given:
        found = (
            "DAGSTER_HOME is not set: Dagster keeps runs in a temporary folder and forgets them, "
            "with exit code 0, and no sensor, retry or limit of dagster.yaml holds."
        )
        yield problem("DAGSTER_HOME", found, f"make setup, then {_TAKE_IT}")
        return
    if not given.startswith("/"):
        do = "AI_ASSETS_HOME=/path make setup"
        yield problem("DAGSTER_HOME", f"{given} is no absolute path: Dagster refuses it.", do)
        return
    folder = place.project / given
    if not folder.is_dir():
        yield problem("DAGSTER_HOME", f"{folder} is no folder: Dagster refuses it.", "make setup")
        return
    file = folder / "dagster.yaml"
    if file.is_symlink() and not file.exists():
        found = f"{file} is a link to {file.readlink()}, which is gone."
        yield problem("DAGSTER_HOME", found, "make setup")
    elif not file.is_file():
        found = f"{folder} has no dagster.yaml: killed runs are neither noticed nor retried."
        yield problem("DAGSTER_HOME", found, "make setup")
    elif file.samefile(place.project / "dagster.yaml"):
        yield ok("DAGSTER_HOME", f"{folder}, with the dagster.yaml of this checkout.")
    else:
        yield ok("DAGSTER_HOME", f"{folder}, with a dagster.yaml of your own.")


def state_root(place: Place) -> Iterator[Line]:
    """Whether the state root is said."""
    if place.settings.get("AI_ASSETS_HOME"):
        yield ok("AI_ASSETS_HOME", f"{place.home}.")
        return
    found = (
        "AI_ASSETS_HOME is not set: lake, bundles and keys go to .state of whichever folder a "
        "command is started in."
    )
    yield warning("AI_ASSETS_HOME", found, f"make setup, then {_TAKE_IT}")


def settings(place: Place) -> Iterator[Line]:
    """Whether each AI_ASSETS_… is one that somebody reads, and the server's are understood."""
    ours = {name: value for name, value in place.settings.items() if name.startswith(_PREFIX)}
    unknown = sorted(name for name in ours if not is_known(name))
    for name in unknown:
        near = did_you_mean(name, known_settings())
        yield warning("settings", f"Nothing reads {name}.{near}", f"correct or unset {name}")
    if refused := _refused(place):
        yield problem("settings", refused, "correct it in .env or in the environment")
    elif not unknown:
        yield ok("settings", f"{len(ours)} are set, all of them known.")


def _refused(place: Place) -> str:
    """What a server would say of its settings; nothing where it takes them."""
    from ai_assets.serving.access.gate import MODES
    from ai_assets.serving.settings import ACCESS, Settings

    try:
        with place.entered():
            access = Settings.from_environment().access
    except UserError as error:
        return str(error)
    return "" if access in MODES else must_be(ACCESS, MODES, access)
