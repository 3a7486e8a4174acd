"""`python -m ai_assets.doctor`, or `make doctor`: what would keep this checkout from working.

One line a check: ok, warning or problem, what was found, and what to do. Ends with 0 where there is
no problem, with 1 where there is one. It changes nothing but for small files that it removes again.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ai_assets.doctor import (
    clock,
    environment,
    permissions,
    processes,
    products,
    storage,
    versions,
)
from ai_assets.doctor.line import Line, as_json, as_text, healthy, problem
from ai_assets.doctor.place import PROJECT, Place

Check = Callable[[Place], Iterator[Line]]
CHECKS: dict[str, Check] = {
    "python": versions.python,
    "packages": versions.packages,
    "torch": versions.torch,
    ".env": environment.dotenv,
    "AI_ASSETS_HOME": environment.state_root,
    "DAGSTER_HOME": environment.dagster_home,
    "settings": environment.settings,
    "state folder": storage.state_folder,
    "lake": storage.lake,
    "databases": storage.databases,
    "PostgreSQL": storage.postgres,
    "disk": storage.disk,
    "temporary files": storage.temporary,
    "secrets": permissions.secrets,
    "folders": permissions.folders,
    "ports": processes.ports,
    "daemons": processes.daemons,
    "locks": processes.locks,
    "runs": processes.dead_runs,
    "drafts": processes.drafts,
    "clock": clock.clock,
    "products": products.declarations,
    "code location": products.code_location,
}


def examine(place: Place, checks: dict[str, Check] | None = None) -> Iterator[Line]:
    """What each check says; one that cannot be made is a problem too."""
    for name, check in (checks or CHECKS).items():
        try:
            yield from check(place)
        except Exception as error:  # whatever is broken, the other checks are made
            said = f"It could not be checked: {type(error).__name__}: {error}"
            yield problem(name, said, "make setup, then once more")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all checks and tell them."""
    parser = argparse.ArgumentParser(prog="python -m ai_assets.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="tell it as one JSON object")
    parser.add_argument("--project", type=Path, default=PROJECT, help="the checkout")
    parser.add_argument("--products", type=Path, help="folder of the products; default: its own")
    ports = ", ".join(map(str, Place.ports))
    parser.add_argument(
        "--ports", type=int, nargs="+", default=Place.ports,
        help=f"ports that are to be free, the UI's first; default: {ports}",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    project = given.project.resolve()
    products_folder = given.products or project / "ai_assets" / "products"
    lines = list(examine(Place(project, products=products_folder, ports=tuple(given.ports))))
    print(as_json(lines) if given.json else as_text(lines))
    return 0 if healthy(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
