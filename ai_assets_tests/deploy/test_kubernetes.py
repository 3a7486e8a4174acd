"""The Kubernetes manifests: valid by the API's schemas, and fitting together."""

import copy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ai_assets.serving.access.rules import NOTHING, needed
from ai_assets.serving.settings import Settings

# The oldest and the newest that are checked; between them nothing is taken away.
VERSIONS = ("1.31", "1.37")
NAME = "ai-assets-server"
Manifests = dict[str, dict[str, Any]]


def built(folder: Path) -> Manifests:
    """What kustomize makes of a folder, by kind."""
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if kubectl is None and kustomize is None:
        # Nor does install_test_tools.sh install one: Debian 12 has 1.20, whose built-in kustomize
        # is of version 2 and does not know `labels`.
        pytest.skip("no kubectl or kustomize here; the kubectl that Debian 12 has is too old")
    command = [kubectl, "kustomize"] if kubectl else [kustomize, "build"]
    done = subprocess.run(
        [*map(str, command), str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return {found["kind"]: found for found in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module")
def folder(repo_root: Path) -> Path:
    """The folder of the manifests."""
    return repo_root / "deploy" / "kubernetes"


@pytest.fixture(scope="module")
def shipped(folder: Path) -> Manifests:
    """The server and what belongs to it."""
    return built(folder / "base")


@pytest.fixture
def base(shipped: Manifests) -> Manifests:
    """The same, to break."""
    return copy.deepcopy(shipped)


def schema_problems(manifests: Manifests) -> list[str]:
    """What the API's own schemas refuse."""
    found = []
    for version in VERSIONS:
        for manifest in manifests.values():
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{manifest['kind']} {version}: {error.message}")
    return found


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether a selector chooses what has these labels, and not whatever there is."""
    return bool(selector) and selector.items() <= labels.items()


def fit_problems(manifests: Manifests) -> Iterator[str]:
    """What does not fit together; each sentence names the kind."""
    deployment = manifests["Deployment"]
    spec, template = deployment["spec"], deployment["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    selectors = {
        "Deployment": spec["selector"]["matchLabels"],
        "Service": manifests["Service"]["spec"]["selector"],
        "PodDisruptionBudget": manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": manifests["NetworkPolicy"]["spec"]["podSelector"].get("matchLabels", {}),
    }
    for kind, selector in selectors.items():
        if not selects(selector, labels):
            yield f"{kind} does not select the pods of the server"
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    if (target["kind"], target["name"]) != ("Deployment", deployment["metadata"]["name"]):
        yield "HorizontalPodAutoscaler scales something else"
    if "replicas" in spec:
        yield "Deployment says how many pods, against its autoscaler"
    if (
        manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"]
        >= (manifests["HorizontalPodAutoscaler"]["spec"]["minReplicas"])
    ):
        yield "PodDisruptionBudget allows that no pod is left"
    yield from _port_problems(manifests, pod["containers"][0])
    maps = {r["configMapRef"]["name"] for r in pod["containers"][0]["envFrom"]}
    if maps != {manifests["ConfigMap"]["metadata"]["name"]}:
        yield "Deployment reads a ConfigMap that there is not"
    if not manifests["ConfigMap"]["data"].get("AI_ASSETS_TRUSTED_KEY"):
        yield "ConfigMap lets bundles be served that anybody has signed"
    yield from _shared_problems(pod["containers"][0])
    yield from _pod_problems(pod)


def _shared_problems(server: dict[str, Any]) -> Iterator[str]:
    """What one pod keeps for itself, others would not know of."""
    secret = {v["name"]: v.get("valueFrom", {}).get("secretKeyRef") for v in server["env"]}
    for setting in ("AI_ASSETS_LOG", "AI_ASSETS_KEYS"):
        if not secret.get(setting):
            yield f"{setting} is no secret that all pods share"


def _port_problems(manifests: Manifests, server: dict[str, Any]) -> Iterator[str]:
    """A call comes where the service sends it, the policy lets it in and the server listens."""
    listens = {port["name"]: str(port["containerPort"]) for port in server["ports"]}
    if list(listens.values()) != [word for word in server["command"] if word.isdigit()]:
        yield "the server listens to other ports than it says"
    if {port["targetPort"] for port in manifests["Service"]["spec"]["ports"]} != set(listens):
        yield "Service sends to a port that there is not, or not to all"
    (let_in,) = manifests["NetworkPolicy"]["spec"]["ingress"]
    if {port["port"] for port in let_in["ports"]} != set(listens):
        yield "NetworkPolicy lets in to other ports than there are"


def _pod_problems(pod: dict[str, Any]) -> Iterator[str]:
    (server,) = pod["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = server.get(probe, {}).get("httpGet", {}).get("path", "")
        if needed("GET", path) != NOTHING:
            yield f"{probe} asks {path!r}, which needs a key"
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    # Uvicorn and then gRPC answer what is under way, each as long as any answer may take.
    if pod["terminationGracePeriodSeconds"] < pause + 2 * Settings.max_seconds + 5:
        yield "the pod is killed before it has drained"
    if not pod["securityContext"].get("runAsNonRoot") or pod["automountServiceAccountToken"]:
        yield "the pod may do more than it needs"
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        context = container.get("securityContext", {})
        if (
            context.get("allowPrivilegeEscalation") is not False
            or not context.get("readOnlyRootFilesystem")
            or context.get("capabilities") != {"drop": ["ALL"]}
        ):
            yield f"{container['name']} is not closed"
        if "memory" not in container["resources"]["limits"]:
            yield f"{container['name']} may take all memory"
        if ":" not in container["image"] or container["image"].endswith(":latest"):
            yield f"{container['name']} has no version"
        volumes = {volume["name"] for volume in pod["volumes"]}
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"{container['name']} mounts {mount['name']}, which there is not"


def test_the_manifests_are_valid_and_fit_together(shipped: Manifests):
    assert set(shipped) == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
        "PodDisruptionBudget", "Service",
    }  # fmt: skip
    assert schema_problems(shipped) == []
    assert list(fit_problems(shipped)) == []
    assert shipped["ConfigMap"]["data"]["AI_ASSETS_ACCESS"] == "keys"
    assert "Secret" not in shipped


BROKEN_SHAPES: dict[str, tuple[list[Any], Any]] = {
    "a misspelt word": (["Deployment", "spec", "template", "spec", "contaners"], []),
    "a word for a number": (["HorizontalPodAutoscaler", "spec", "minReplicas"], "two"),
    "a port beyond all ports": (["Service", "spec", "ports", 0, "port"], "eighty"),
    "a selector that is a text": (["PodDisruptionBudget", "spec", "selector"], "server"),
    "an unknown field of a policy": (["NetworkPolicy", "spec", "ingres"], []),
}
POD = ["Deployment", "spec", "template", "spec"]
SERVER = [*POD, "containers", 0]
BROKEN_FITS: dict[str, tuple[list[Any], Any, str]] = {
    "other labels": (
        ["Deployment", "spec", "template", "metadata", "labels"], {"track": "stable"},
        "Service does not select",
    ),
    "a policy for every pod": (
        ["NetworkPolicy", "spec", "podSelector"], {}, "NetworkPolicy does not select",
    ),
    "another target": (
        ["HorizontalPodAutoscaler", "spec", "scaleTargetRef", "name"], "x", "scales something else",
    ),
    "two who count": (["Deployment", "spec", "replicas"], 3, "against its autoscaler"),
    "none left": (["PodDisruptionBudget", "spec", "maxUnavailable"], 2, "no pod is left"),
    "another port": (["Service", "spec", "ports", 0, "targetPort"], "web", "sends to a port"),
    "no gRPC": ([*SERVER, "command", 8], "x", "listens to other ports"),
    "a closed port": (
        ["NetworkPolicy", "spec", "ingress", 0, "ports", 1, "port"], "web", "lets in to other",
    ),
    "another map": ([*SERVER, "envFrom", 0, "configMapRef", "name"], "x", "reads a ConfigMap"),
    "any signature": (["ConfigMap", "data", "AI_ASSETS_TRUSTED_KEY"], "", "anybody has signed"),
    "a probe that needs a key": ([*SERVER, "readinessProbe", "httpGet", "path"], "/schema", "key"),
    "no probe": ([*SERVER, "livenessProbe"], {}, "livenessProbe asks ''"),
    "no time to drain": ([*POD, "terminationGracePeriodSeconds"], 60, "killed before it has"),
    "root": ([*POD, "securityContext"], {}, "may do more than it needs"),
    "an open container": ([*SERVER, "securityContext", "capabilities"], {}, "server is not closed"),
    "keys of its own": (
        [*SERVER, "env", 1], {"name": "AI_ASSETS_KEYS", "value": "/tmp/keys.sqlite"},
        "AI_ASSETS_KEYS is no secret that all pods share",
    ),
    "no limit": ([*SERVER, "resources", "limits"], {}, "server may take all memory"),
    "any version": ([*SERVER, "image"], "server:latest", "server has no version"),
    "a lost volume": ([*POD, "volumes"], [], "mounts bundles, which there is not"),
}  # fmt: skip


def broken(manifests: Manifests, path: list[Any], value: Any) -> Manifests:
    place: Any = manifests
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return manifests


@pytest.mark.parametrize("case", BROKEN_SHAPES)
def test_a_manifest_that_the_api_would_refuse_is_found(base: Manifests, case: str):
    path, value = BROKEN_SHAPES[case]

    found = schema_problems(broken(base, path, value))

    assert len(found) >= len(VERSIONS)
    assert {problem.split()[0] for problem in found} == {path[0]}


@pytest.mark.parametrize("case", BROKEN_FITS)
def test_manifests_that_do_not_fit_are_found(base: Manifests, case: str):
    path, value, says = BROKEN_FITS[case]

    found = list(fit_problems(broken(base, path, value)))

    assert any(says in problem for problem in found), found


def test_each_file_is_valid_as_it_is_written(folder: Path):
    """What needs no kustomize is held against the schemas wherever tests run."""
    files = [f for f in sorted(folder.glob("base/*.yaml")) if f.name != "kustomization.yaml"]
    found = {m["kind"]: m for f in files for m in yaml.safe_load_all(f.read_text("utf-8"))}

    assert {"Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy"} <= set(found)
    assert schema_problems(found) == []
    found["Service"]["spec"]["ports"][0]["port"] = "many"
    assert [p for p in schema_problems(found) if p.startswith("Service")]


def test_a_canary_stands_beside_the_stable_one_behind_the_same_service(
    folder: Path, shipped: Manifests
):
    canary = built(folder / "canary")
    own, stable = canary["Deployment"], shipped["Deployment"]

    assert schema_problems(canary) == []
    assert own["metadata"]["name"] != stable["metadata"]["name"]
    assert own["spec"]["replicas"] == 1
    labels = own["spec"]["template"]["metadata"]["labels"]
    assert own["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": NAME,
        "track": "canary",
    }
    assert own["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert not selects(stable["spec"]["selector"]["matchLabels"], labels)
    for kind in ("Service", "NetworkPolicy", "ConfigMap"):
        assert canary[kind] == shipped[kind]
    assert selects(shipped["Service"]["spec"]["selector"], labels)
    images = [d["spec"]["template"]["spec"]["containers"][0]["image"] for d in (stable, own)]
    assert images == [f"{NAME}:0.1.0", f"{NAME}:0.1.0-canary"]
    assert not {"HorizontalPodAutoscaler", "PodDisruptionBudget"} & set(canary)


def test_prometheus_is_told_of_the_servers(folder: Path, shipped: Manifests):
    monitor = built(folder / "monitoring")["ServiceMonitor"]["spec"]
    service = shipped["Service"]

    assert selects(monitor["selector"]["matchLabels"], service["metadata"]["labels"])
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert needed("GET", endpoint["path"]).scope == "admin"
    assert endpoint["authorization"]["credentials"] == {"name": "ai-assets-metrics", "key": "key"}
    # Else the job is the Service's name, and the alert of a server that is gone never fires.
    alerts = (folder.parent / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    (job,) = {one["replacement"] for one in endpoint["relabelings"] if one["targetLabel"] == "job"}
    assert f'up{{job="{job}"}} == 0' in alerts
