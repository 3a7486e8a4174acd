"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, stopped at the end."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

ABSENT = "no PostgreSQL server on this machine: install the package 'postgresql'"
PASSWORD = "secret-of-the-test"


def _programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`; Debian keeps it off the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _user() -> str | None:
    """Who runs the server: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """A server that can be stopped and started again on its port."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self.port = programs, folder, port
        self._user = _user()
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if self._user:
            for path in (folder, secret):
                shutil.chown(path, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "tester", "--auth=scram-sha-256",
                  f"--pwfile={secret}", "--encoding=UTF8", "--no-locale")  # fmt: skip

    def start(self) -> None:
        """Return when it takes connections."""
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self._folder}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `immediate` is a crash, `fast` ends sessions first."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", how, "stop")

    def log_of(self, name: str = "") -> str:
        """URL of a log in a new schema."""
        name = name or f"log_{uuid.uuid4().hex}"
        return f"{self.url}?schema={name}"

    def end_session(self, process: int) -> None:
        """End a session by the number of its process, as a failover does."""
        with psycopg.connect(self.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])

    @property
    def url(self) -> str:
        """The database."""
        return f"postgresql://tester:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        # Output to a file: the server keeps what its starter had open.
        with (self._folder / "output").open("w+", encoding="utf-8") as output:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self._folder, user=self._user, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, timeout=120, check=False,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            )  # fmt: skip
            output.seek(0)
            assert done.returncode == 0, output.read()


@contextmanager
def server() -> Iterator[Server]:
    """A running server; the test that asks for it is skipped where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip(ABSENT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # Not below pytest's own folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        made = Server(programs, Path(folder), port)
        made.start()
        try:
            yield made
        finally:
            made.stop()
