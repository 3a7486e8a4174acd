"""Where the bundle to serve and the state lie. Light: BentoML's supervisor imports it too."""

import importlib.util
import os
from pathlib import Path

import ai_assets
from ai_assets.lifecycle.errors import BundleError, must_be

FOLDER = "AI_ASSETS_BUNDLE"
PRODUCT = "AI_ASSETS_PRODUCT"
HOME = "AI_ASSETS_HOME"
KEYS = "AI_ASSETS_KEYS"
LOG = "AI_ASSETS_LOG"
BUNDLES = "AI_ASSETS_BUNDLES"


def state_root() -> Path:
    """`$AI_ASSETS_HOME`, or `.state` below the working directory."""
    return Path(os.environ.get(HOME) or ".state").absolute()


def keys_place() -> str:
    """Where API keys lie: `$AI_ASSETS_KEYS`, or `keys/access.sqlite` below the state root."""
    return os.environ.get(KEYS) or str(state_root() / "keys" / "access.sqlite")


def bundle_store() -> Path:
    """The bundle store: `$AI_ASSETS_BUNDLES`, or `bentoml/` below the state root."""
    return Path(os.environ.get(BUNDLES) or state_root() / "bentoml")


def what_to_serve() -> Path | None:
    """The folder to serve, or None where `$AI_ASSETS_PRODUCT` names a release to follow.

    Raises:
        BundleError: there is neither, or both are given.
    """
    if not os.environ.get(PRODUCT):
        return find_bundle()
    if os.environ.get(FOLDER):
        raise BundleError(
            f"Set either {PRODUCT}, to follow its release, or {FOLDER}, to serve that bundle."
        )
    return None


def find_bundle() -> Path:
    """The folder to serve: `$AI_ASSETS_BUNDLE`, or `product/` beside the package in a Bento.

    Raises:
        BundleError: there is none; says how to make one.
    """
    if given := os.environ.get(FOLDER):
        return Path(given)
    beside = Path(ai_assets.__file__).resolve().parent.parent / "product"
    if beside.is_dir():
        return beside
    raise BundleError(
        "There is no bundle to serve: a bundle is built by its asset, not by a plain "
        "`bentoml build`. Run\n  dagster asset materialize -m ai_assets.definitions --select "
        "'key:\"flight_delay/bundle\"' --partition 2013-03-01\n"
        f"(with your product and partition), or set {FOLDER} to the folder of a signed bundle. To "
        f"serve what is in production, set {PRODUCT} to the name of the product."
    )


def is_postgres(place: str) -> bool:
    """Whether a place is a PostgreSQL database, and no file."""
    return place.partition("://")[0] in ("postgresql", "postgres")


def check_psycopg(what: str) -> None:
    """Raise a BundleError unless the package for PostgreSQL is there.

    Args:
        what: lies in the database, such as `A log`.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise BundleError(
            f"{what} in PostgreSQL needs a package that a bundle does without. Run\n"
            "  pip install 'psycopg[binary]'"
        )


def file_of(place: str, setting: str) -> Path:
    """The file that a place is, written as a path or as `sqlite:///<path>`.

    Raises:
        BundleError: it is a URL of another kind.
    """
    scheme, found, rest = place.partition("://")
    if found and scheme != "sqlite":
        allowed = "a path, sqlite:///<path> or postgresql://<user>:<password>@<host>/<database>"
        raise BundleError(must_be(setting, allowed, f"{scheme}://…"))
    return Path(rest[1:] if found else place)
