"""Whether Python, the packages and torch are those that this checkout was tested with."""

import platform
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from ai_assets.doctor.line import Line, ok, problem, warning
from ai_assets.doctor.place import Place

_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_BUILD = re.compile(r"^cuda[^=]*= *(?:'([^']*)'|\"([^\"]*)\"|None)", re.MULTILINE)
_MANY = 5
_SETUP = "make setup"
DRIVER = Path("/proc/driver/nvidia/version")


def python(place: Place, running: str = platform.python_version()) -> Iterator[Line]:
    """Whether this Python is one that the project is for."""
    from packaging.specifiers import SpecifierSet

    wanted = str(_declared(place)["requires-python"])
    if SpecifierSet(wanted).contains(running):
        yield ok("python", f"{running}, as {wanted} asks.")
    else:
        do = "make setup PYTHON=/path/to/python3.11, after `rm -rf .venv`"
        yield problem("python", f"{running}, but the project asks for {wanted}.", do)


def packages(place: Place) -> Iterator[Line]:
    """Whether what is installed is what `requirements.lock` pins."""
    lock = place.project / "requirements.lock"
    if not lock.is_file():
        yield warning("packages", f"There is no {lock} to compare with.", "git checkout it")
        return
    locked = dict(_LOCKED.findall(lock.read_text(encoding="utf-8")))
    found = {name: _installed(name) for name in locked}
    absent = [name for name, there in found.items() if there is None]
    others = [
        f"{n} {found[n]} (locked: {v})" for n, v in locked.items() if found[n] not in (v, None)
    ]
    if absent:
        yield problem("packages", f"{len(absent)} not installed: {_few(absent)}.", _SETUP)
    if others:
        yield warning("packages", f"{len(others)} of other versions: {_few(others)}.", _SETUP)
    if not absent and not others:
        yield ok("packages", f"All {len(locked)} are as requirements.lock pins them.")


def torch(place: Place, driver: Path = DRIVER) -> Iterator[Line]:
    """Whether torch is there, of the declared version, and of a build that suits the machine."""
    from packaging.requirements import Requirement

    declared = [Requirement(text) for text in _declared(place)["dependencies"]]
    wanted = next(one for one in declared if one.name == "torch").specifier
    installed = _installed("torch")
    if installed is None:
        yield problem("torch", "It is not installed.", _SETUP)
        return
    cuda = _cuda_of_torch()
    build = f"{installed}, a build for {f'CUDA {cuda}' if cuda else 'the CPU'}"
    if not wanted.contains(installed):
        yield problem("torch", f"{build}, but the project asks for {wanted}.", _SETUP)
    elif driver.exists() and not cuda:
        do = 'make setup TORCH="torch==… --index-url <index of CUDA builds>", or leave it so'
        yield warning("torch", f"{build}; this machine has an NVIDIA driver that it ignores.", do)
    else:
        yield ok("torch", f"{build}.")


def _declared(place: Place) -> dict[str, Any]:
    text = (place.project / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cuda_of_torch() -> str:
    """The CUDA that torch was built for; read, not imported, since that takes seconds."""
    file = Path(str(distribution("torch").locate_file("torch/version.py")))
    told = _BUILD.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    return (told.group(1) or told.group(2) or "") if told else ""


def _few(items: list[str]) -> str:
    more = f" and {len(items) - _MANY} more" if len(items) > _MANY else ""
    return f"{', '.join(items[:_MANY])}{more}"
