"""What installs the programs that tests drive: it asks for what is absent, and fails no suite."""

import subprocess
from pathlib import Path

# Says what it was asked, and has neither `wrk` nor, with it, all at once.
APT = """#!/bin/sh
echo "$@" >> "{log}"
case " $* " in *" {absent} "*) exit 100;; esac
"""
TOOLS = ("bash", "chmod", "rm")


def install(repo_root: Path, folder: Path, user: int, absent: str) -> tuple[str, list[str]]:
    """What the script says, and what it asked of a machine that has nothing."""
    log, tools = folder / "asked", folder / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(f"/bin/{name}")
    for name, text in (
        ("id", f"#!/bin/sh\necho {user}\n"),
        ("apt-get", APT.format(log=log, absent=absent)),
    ):
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", repo_root / "deploy" / "install_test_tools.sh"],
        env={"PATH": str(tools), "POLICY_RC": str(folder / "policy")},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (folder / "policy").exists()
    asked = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return done.stdout, [line.split("Retries=3")[1].strip() for line in asked]


def test_what_is_absent_is_installed_at_once(repo_root: Path, tmp_path: Path):
    said, (update, packages) = install(repo_root, tmp_path, user=0, absent="nothing")

    assert update == ""
    assert {"chromium", "prometheus", "wrk", "openssl"} <= set(packages.split())
    assert said.splitlines() == [f"Installing for the tests: {packages}"]


def test_a_package_that_cannot_be_had_keeps_no_other_away(repo_root: Path, tmp_path: Path):
    said, (_, together, *alone) = install(repo_root, tmp_path, user=0, absent="wrk")

    assert alone == together.split()
    assert said.splitlines()[1:] == [
        "wrk could not be installed: tests that need it will be skipped."
    ]


def test_without_the_right_to_install_it_says_what_to_install(repo_root: Path, tmp_path: Path):
    said, asked = install(repo_root, tmp_path, user=1000, absent="nothing")

    assert asked == []
    assert said.startswith("Tests that need them will be skipped. To run them, install: chromium ")
