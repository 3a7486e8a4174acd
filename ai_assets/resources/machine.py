"""The machine that executes a run which a command started, told so that it can be asked after.

A run that the daemon launched tells the address of its code server. One that a command began tells
the number of its process only, and a number says nothing on another machine or in another
container, though both may share the state or the database.
"""

import hashlib
import platform
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

MACHINE_TAG = "ai_assets/machine"
# Each start of the machine has another id (random(4)).
_BOOT = Path("/proc/sys/kernel/random/boot_id")
# Each installation has another id (machine-id(5)); many machines are called alike.
_INSTALLED = Path("/etc/machine-id")
# Which processes have numbers together (pid_namespaces(7)): those of a container have their own.
_NUMBERED = Path("/proc/self/ns/pid")
# That of the machine itself, on each Linux (PROC_PID_INIT_INO in include/linux/proc_ns.h).
_OF_THE_MACHINE = "pid:[4026531836]"
_NAMELESS = "-"
_told: set[str] = set()


class Where(Enum):
    """Where a run is executed, seen from here."""

    HERE = "here"
    BEFORE_A_RESTART = "here, but the machine was started again since"
    ELSEWHERE = "elsewhere, or it cannot be told"


@dataclass(frozen=True)
class Machine:
    """A machine as the processes see it that share their numbers.

    Attributes:
        name: Its host name.
        installed: Tells its installation from others; "-" where nothing does.
        numbered: The namespace that numbers its processes.
        boot: The id of its start.
    """

    name: str
    installed: str
    numbered: str
    boot: str

    @classmethod
    def here(cls) -> Self | None:
        """The one that executes this; None where the kernel does not say."""
        try:
            numbered, boot = str(_NUMBERED.readlink()), _BOOT.read_text(encoding="ascii").strip()
        except OSError:
            return None
        return cls(platform.node(), _installed(), numbered, boot)

    def __str__(self) -> str:
        return f"{self.name} {self.installed} {self.numbered} {self.boot}"


def _installed() -> str:
    """A digest of the installation's id, which itself is not to be shown to others."""
    try:
        told = _INSTALLED.read_text(encoding="ascii").strip()
    except OSError:
        return _NAMELESS
    return hashlib.sha256(f"ai_assets {told}".encode()).hexdigest()[:16] if told else _NAMELESS


def tell_machine(context: dg.AssetExecutionContext) -> None:
    """Write into the tags of a run that no code server launched where it is executed, once."""
    run = context.run
    if run.run_id in _told or GRPC_INFO_TAG in run.tags or (here := Machine.here()) is None:
        return
    context.instance.add_run_tags(run.run_id, {MACHINE_TAG: str(here)})
    _told.add(run.run_id)


def where(run: dg.DagsterRun) -> Where:
    """Where a run is executed that told its machine.

    Machines may be named alike, and containers come anew with the same name while one runs
    elsewhere. So once the id of the start is another, nothing is said of a container, nor of a
    machine whose installation has no id.
    """
    told, here = run.tags.get(MACHINE_TAG), Machine.here()
    if told is None or here is None:
        return Where.ELSEWHERE
    if told == str(here):
        return Where.HERE
    same = told.startswith(f"{here.name} {here.installed} {_OF_THE_MACHINE} ")
    sure = here.installed != _NAMELESS and here.numbered == _OF_THE_MACHINE
    return Where.BEFORE_A_RESTART if same and sure else Where.ELSEWHERE
