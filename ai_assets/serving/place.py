"""Where the bundle to serve and the state lie. Light: BentoML's supervisor imports it too."""

import os
from pathlib import Path

import ai_assets
from ai_assets.lifecycle.errors import BundleError

FOLDER = "AI_ASSETS_BUNDLE"
HOME = "AI_ASSETS_HOME"
KEYS = "AI_ASSETS_KEYS"


def state_root() -> Path:
    """`$AI_ASSETS_HOME`, or `.state` below the working directory."""
    return Path(os.environ.get(HOME) or ".state").absolute()


def keys_file() -> Path:
    """The file of API keys: `$AI_ASSETS_KEYS`, or `keys/access.sqlite` below the state root."""
    return Path(os.environ.get(KEYS) or state_root() / "keys" / "access.sqlite")


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
        f"(with your product and partition), or set {FOLDER} to the folder of a signed bundle."
    )
