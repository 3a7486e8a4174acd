"""Where everything that is kept lies, unless a resource is told otherwise."""

import os
from pathlib import Path


def state_root() -> Path:
    """`$AI_ASSETS_HOME`, or `.state` below the working directory; absolute."""
    return Path(os.environ.get("AI_ASSETS_HOME") or ".state").absolute()
