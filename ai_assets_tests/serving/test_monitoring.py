"""What watches a server: alert rules, dashboard, and a real Prometheus that reads a real server."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import small_payload as small
import values_payload as values
import yaml
from fastapi.testclient import TestClient
from serving_processes import running

from ai_assets.serving.app import create_app
from ai_assets.serving.settings import Settings

NO_PROMETHEUS = "no Prometheus on this machine: install the package 'prometheus'"
MADE_BY_PROMETHEUS = {"up"}


@pytest.fixture(scope="module")
def monitoring(repo_root: Path) -> Path:
    """The folder that users copy."""
    return repo_root / "deploy" / "monitoring"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus' checker."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip(NO_PROMETHEUS)
    return found


def checked(promtool: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_config_and_its_rules_are_valid(promtool: str, monitoring: Path) -> None:
    done = checked(promtool, monitoring, "check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 rules found" in done.stdout


def test_each_alert_fires_on_what_it_is_for_and_is_silent_otherwise(
    promtool: str, monitoring: Path
) -> None:
    done = checked(promtool, monitoring, "test", "rules", "alerts_test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_without_a_case(monitoring: Path) -> None:
    rules = yaml.safe_load((monitoring / "alerts.yml").read_text(encoding="utf-8"))
    cases = yaml.safe_load((monitoring / "alerts_test.yml").read_text(encoding="utf-8"))

    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    fired = {
        case["alertname"]
        for test in cases["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fired == alerts


def test_a_changed_limit_is_found_by_the_cases(
    promtool: str, monitoring: Path, tmp_path: Path
) -> None:
    rules = (monitoring / "alerts.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_text(rules.replace("> 0.01", "> 0.5"), encoding="utf-8")
    shutil.copy(monitoring / "alerts_test.yml", tmp_path)

    done = checked(promtool, tmp_path, "test", "rules", "alerts_test.yml")

    assert done.returncode == 1
    assert "AnswersFail" in done.stdout + done.stderr


def names_in(text: str) -> set[str]:
    """The series that a PromQL text reads."""
    return set(re.findall(r"\bai_assets_\w+|\bup\b(?=\{)", text))


def exposed(client: TestClient) -> set[str]:
    """The series that a server which has answered once has."""
    assert client.post("/predict", json=small.ROW).status_code == 200
    lines = client.get("/metrics").text.splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


@pytest.fixture(scope="module")
def told_of_values(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The series of a server whose answers are values."""
    place = values.payload_of(tmp_path_factory.mktemp("values"), None)
    with TestClient(create_app(place / "payload", Settings(lake=str(place / "lake")))) as client:
        return exposed(client)


def test_values_are_no_probabilities(told_of_values: set[str], client: TestClient) -> None:
    told = exposed(client)

    assert "ai_assets_probability_bucket" in told - told_of_values
    assert "ai_assets_value_rank_bucket" in told_of_values - told


def test_alerts_read_only_what_a_server_tells(
    monitoring: Path, client: TestClient, told_of_values: set[str]
) -> None:
    rules = yaml.safe_load((monitoring / "alerts.yml").read_text(encoding="utf-8"))
    read = {
        n for group in rules["groups"] for rule in group["rules"] for n in names_in(rule["expr"])
    }

    assert len(read) >= 9
    assert read - exposed(client) - told_of_values == MADE_BY_PROMETHEUS


def test_the_dashboard_shows_only_what_a_server_tells_and_all_of_it(
    monitoring: Path, client: TestClient, told_of_values: set[str]
) -> None:
    dashboard = json.loads((monitoring / "grafana_dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    read = {name for query in queries for name in names_in(query)}

    told = exposed(client) | told_of_values
    assert read <= told
    family = re.compile(r"_(total|created|sum|count|bucket)$")
    assert {family.sub("", n) for n in told} == {family.sub("", n) for n in read}
    assert all(panel["title"] and panel["description"] for panel in dashboard["panels"])


def test_prometheus_reads_a_running_server(
    monitoring: Path, shared: Path, tmp_path: Path, free_port: int, another_free_port: int
) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip(NO_PROMETHEUS)
    served, watching = free_port, another_free_port
    command = ["ai_assets.serving", "--bundle", str(shared / "payload"), "--port", str(served)]
    environment = {"AI_ASSETS_LAKE": str(shared / "lake"), "AI_ASSETS_ACCESS": "open"}
    config = yaml.safe_load((monitoring / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{served}"]}]
    shutil.copy(monitoring / "alerts.yml", tmp_path)
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")

    with running(command, f"http://127.0.0.1:{served}", tmp_path, environment) as client:
        for _ in range(3):
            assert client.post("/predict", json=small.ROW).status_code == 200
        watch = subprocess.Popen(
            [
                prometheus,
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{watching}",
            ],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{watching}"
            answered = 'ai_assets_requests_total{route="predict",status="200"}'
            assert asked(url, answered) == 3
            assert asked(url, 'up{job="ai_assets"}') == 1
            told = httpx.get(f"{url}/api/v1/rules", timeout=10).json()["data"]["groups"]
            assert [rule["state"] for rule in told[0]["rules"]] == ["inactive"] * 9
        finally:
            watch.terminate()
            watch.wait(timeout=20)


def asked(url: str, query: str, within_s: float = 40) -> float:
    """The value that Prometheus has of a query, once it has one."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            found = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()
            if found["data"]["result"]:
                return float(found["data"]["result"][0]["value"][1])
        except (httpx.TransportError, ValueError):  # no JSON while it starts
            pass
        time.sleep(0.3)
    raise AssertionError(f"Prometheus knows nothing of {query}")
