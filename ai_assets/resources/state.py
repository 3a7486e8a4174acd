"""Where everything that is kept on this machine lies."""

import os
from pathlib import Path


def state_root() -> Path:
    """`$AI_ASSETS_HOME`, or `.state` below the working directory."""
    return Path(os.environ.get("AI_ASSETS_HOME") or ".state").absolute()
