"""The compose file: valid by the specification, closed to all but the proxy, without passwords."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

SECRET = re.compile(r"PASSWORD|_URI$|AI_ASSETS_LOG$")


@pytest.fixture(scope="module")
def folder(repo_root: Path) -> Path:
    """Where the compose file lies."""
    return repo_root / "deploy"


@pytest.fixture
def stack(folder: Path) -> dict[str, Any]:
    """The compose file, its anchors resolved."""
    return dict(yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8")))


def filled(text: str) -> str:
    """The text with a value for each variable, its default if it has one."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda m: m[1] or "filled", text)


def problems(stack: dict[str, Any], folder: Path) -> list[str]:
    """What is wrong with a stack; each by its service."""
    try:
        # `validate` finds networks and secrets that are used and not declared.
        checked = PyCompose.from_yaml(filled(yaml.safe_dump(stack, width=1000)))
        checked.to_spec()
        checked.validate()
    except ValueError as error:
        return [str(error)]
    return [
        f"{name}: {problem}"
        for name, service in stack["services"].items()
        for problem in _problems(name, service, stack, folder)
    ]


def _problems(name: str, service: dict[str, Any], stack: dict[str, Any], folder: Path) -> list[str]:
    found = []
    if service.get("ports") and name != "proxy":
        found.append("only the proxy has ports on the host")
    if not re.search(r":v?\d+\.\d+\.\d+|:\d+\.\d+-", service["image"]):
        found.append("its image has no version")
    if "healthcheck" not in service:
        found.append("nobody asks whether it is well")
    if service.get("restart") != "unless-stopped":
        found.append("it does not start again")
    for key, value in service.get("environment", {}).items():
        if SECRET.search(key) and not re.search(r"\$\{\w+:\?[^}]+\}", value):
            found.append(f"{key} is not asked for")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        secret = source.startswith("./secrets")
        if source[0] not in "./" and source not in stack["volumes"]:
            found.append(f"{source} is not declared")
        if source.startswith("./") and not secret and not (folder / source).exists():
            found.append(f"{source} is not there")
    found += _not_its_own(name, service)
    for other, wanted in service.get("depends_on", {}).items():
        if (
            wanted["condition"] == "service_healthy"
            and "healthcheck" not in stack["services"][other]
        ):
            found.append(f"waits for {other}, which has no healthcheck")
    return found


def _not_its_own(name: str, service: dict[str, Any]) -> list[str]:
    """What of the state a service gets that it does not need."""
    kept = {volume.split(":")[0]: volume for volume in service.get("volumes", [])}
    dagster = name.startswith("dagster-")
    found = ["it gets the key that signs bundles"] if "state" in kept and not dagster else []
    for volume in ("lake", "bundles", "experiments"):
        if volume in kept and not dagster and not kept[volume].endswith(":ro"):
            found.append(f"it may write {volume}")
    trusted = service.get("environment", {}).get("AI_ASSETS_TRUSTED_KEY", "")
    if name == "server" and re.fullmatch(r"(\$\{\w+:?-\})?", trusted):
        found.append("it takes bundles that anybody has signed")
    return found


def test_the_stack_is_valid_and_closed(stack: dict[str, Any], folder: Path):
    assert problems(stack, folder) == []
    assert set(stack["services"]) == {
        "postgres", "mlflow", "dagster-webserver", "dagster-daemon", "server", "prometheus",
        "grafana", "proxy",
    }  # fmt: skip
    assert stack["networks"]["inside"] == {"internal": True}
    outside = {n for n, s in stack["services"].items() if "outside" in s["networks"]}
    assert outside == {"proxy", "dagster-webserver", "dagster-daemon"}


BROKEN: dict[str, tuple[list[str], Any, str]] = {
    "a misspelt word": (["services", "server", "imag"], "x:1.0.0", "imag"),
    "a condition that there is not": (
        ["services", "server", "depends_on", "postgres", "condition"], "healthy", "healthy",
    ),
    "a time that is none": (["services", "server", "healthcheck", "interval"], "often", "often"),
    "a volume that is not declared": (
        ["services", "server", "volumes"], ["lost:/x"], "server: lost is not declared",
    ),
    "a network that is not declared": (["services", "server", "networks"], ["lost"], "lost"),
    "a file that is not there": (
        ["services", "server", "volumes"], ["./lost.yaml:/x"], "server: ./lost.yaml is not there",
    ),
    "a port of the host": (["services", "postgres", "ports"], ["5432:5432"], "only the proxy"),
    "an image of any version": (
        ["services", "grafana", "image"], "grafana/grafana:latest", "its image has no version",
    ),
    "a password that is known": (
        ["services", "grafana", "environment", "GF_SECURITY_ADMIN_PASSWORD"], "admin",
        "GF_SECURITY_ADMIN_PASSWORD is not asked for",
    ),
    "a password by default": (
        ["services", "postgres", "environment", "POSTGRES_PASSWORD"], "${X:-postgres}",
        "POSTGRES_PASSWORD is not asked for",
    ),
    "the signing key for the server": (
        ["services", "server", "volumes"], ["state:/state"], "server: it gets the key that signs",
    ),
    "bundles that the server may change": (
        ["services", "server", "volumes"], ["bundles:/state/bentoml"], "it may write bundles",
    ),
    "experiments that their viewer may change": (
        ["services", "mlflow", "volumes"], ["experiments:/state/mlflow"],
        "mlflow: it may write experiments",
    ),
    "any signature": (
        ["services", "server", "environment", "AI_ASSETS_TRUSTED_KEY"], "${TRUSTED_KEY:-}",
        "server: it takes bundles that anybody has signed",
    ),
    "no word of a signature": (
        ["services", "server", "environment", "AI_ASSETS_TRUSTED_KEY"], None,
        "server: it takes bundles that anybody has signed",
    ),
    "no healthcheck": (["services", "proxy", "healthcheck"], None, "nobody asks"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_stack_is_found(stack: dict[str, Any], folder: Path, case: str):
    path, value, says = BROKEN[case]
    place = stack
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value

    found = problems(stack, folder)

    assert len(found) == 1
    assert says in found[0]


def test_each_volume_lies_where_its_service_looks_and_its_user_may_write(
    stack: dict[str, Any], repo_root: Path
):
    server = stack["services"]["server"]
    places = dict(volume.split(":")[:2] for volume in server["volumes"])
    daemon = dict(v.split(":")[:2] for v in stack["services"]["dagster-daemon"]["volumes"])
    text = (repo_root / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    (made,) = re.findall(r"mkdir -p (.+?) && chown -R ai:ai /state /keys", text)

    assert server["environment"]["AI_ASSETS_KEYS"].startswith(places["keys"] + "/")
    assert {name: place for name, place in places.items() if name != "keys"} == {
        name: daemon[name] for name in ("lake", "bundles")
    }
    mounted = {
        p for p in {*places.values(), *daemon.values()} if p.startswith(("/state/", "/keys"))
    }
    # A new volume takes over the owner of the folder that it is put on.
    assert set(made.split()) == mounted


def test_what_compose_asks_for_is_what_the_script_makes(folder: Path, stack_secrets: Any):
    text = (folder / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    lines = (stack_secrets.folder / ".env").read_text(encoding="utf-8").splitlines()
    made = dict(line.split("=", 1) for line in lines if not line.startswith("#"))

    assert asked == set(made)
    passwords = [value for name, value in made.items() if name.endswith("PASSWORD")]
    assert all(len(password) == 48 for password in passwords)
    assert len(set(passwords)) == len(passwords) == 5


def test_the_script_leaves_what_is_there_alone(repo_root: Path, stack_secrets: Any):
    before = {p: p.read_bytes() for p in stack_secrets.folder.rglob("*") if p.is_file()}

    done = subprocess.run(
        [repo_root / "deploy" / "init_stack.sh", "eve"],
        env={**os.environ, "STACK_DIR": str(stack_secrets.folder)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert done.stdout == ""
    assert {p: p.read_bytes() for p in stack_secrets.folder.rglob("*") if p.is_file()} == before
    assert (stack_secrets.folder / ".env").stat().st_mode & 0o777 == 0o600
    assert (stack_secrets.folder / "secrets" / "tls.key").stat().st_mode & 0o777 == 0o600


def test_images_are_built_from_what_is_there(repo_root: Path, folder: Path, stack: dict[str, Any]):
    text = (repo_root / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.M))
    copied = {name for line in re.findall(r"^COPY (.+)$", text, re.M) for name in line.split()[:-1]}
    admitted = {
        line[1:]
        for line in (repo_root / ".dockerignore").read_text("utf-8").splitlines()
        if line[0] == "!"
    }

    built = {s["build"]["target"] for s in stack["services"].values() if "build" in s}
    assert built <= targets
    assert all((repo_root / name).exists() for name in copied)
    assert copied == admitted
    deployed = (folder / "kubernetes" / "base" / "deployment.yaml").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.M)
    assert users == [("10001", "10001")] * 2
    assert re.findall(r"runAs(?:User|Group): (\d+)", deployed) == [*users[0]]
    assert re.findall(r"^FROM (python:\S+)", text, re.M) == ["python:3.11.13-slim-bookworm"]


def test_the_dashboard_and_the_rules_are_those_that_are_shipped(folder: Path):
    own = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    shipped = yaml.safe_load((folder / "monitoring" / "prometheus.yml").read_text(encoding="utf-8"))
    sources = yaml.safe_load((folder / "grafana" / "datasources.yaml").read_text(encoding="utf-8"))

    assert own["rule_files"] == shipped["rule_files"] == ["alerts.yml"]
    (job,) = own["scrape_configs"]
    assert job["job_name"] == shipped["scrape_configs"][0]["job_name"]
    assert job["static_configs"] == [{"targets": ["server:3000"]}]
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
