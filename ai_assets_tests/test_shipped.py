"""`make products`: a picture's whole life, also where its training is killed or cancelled."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_assets.automation.serve import served
from ai_assets.lifecycle.errors import MissingPartitionsError
from ai_assets.lifecycle.features.images import png
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.tracking import ExperimentTracker
from ai_assets.shipped import figures_in, main, shipped, steps_of

ROOT = Path(__file__).resolve().parent.parent
MODEL = AssetName("digit_reading", "model/cnn")


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AI_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "PYTHONPATH": str(ROOT),
    }


def _materialize(home: Path, select: str) -> "subprocess.Popen[str]":
    command = [Path(sys.executable).with_name("dagster"), "asset", "materialize"]
    return subprocess.Popen(
        [*command, "-m", "ai_assets.definitions", "--select", select],
        cwd=home,
        env=_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _lake(home: Path) -> Lake:
    return Lake(root=str(home / "lake"))


def _is_there(home: Path) -> bool:
    try:
        return _lake(home).artifact(MODEL).is_dir()
    except MissingPartitionsError:
        return False


def test_the_flagship_comes_first() -> None:
    names = [product.name for product in shipped()]

    assert names[0] == "flight_delay"
    assert "digit_reading" in names


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({"rows": 9, "roc_auc": 0.75, "log_loss": 0.5}, "log_loss 0.5000, roc_auc 0.7500"),
        ({"r2": 0.25, "rmse": 565.0838, "mae": 299}, "rmse 565.0838, mae 299.0000, r2 0.2500"),
    ],
)
def test_what_was_measured_is_told_of_classes_and_of_numbers(
    measured: dict[str, float], told: str
) -> None:
    assert figures_in(measured) == told


def test_a_product_without_partitions_is_materialized_whole() -> None:
    digits = next(product for product in shipped() if product.name == "digit_reading")

    steps = steps_of(digits)

    assert all(step.first is None and not step.is_range and step.tags == {} for step in steps)
    assert [step.stages[0] for step in steps] == ["raw", "training_set", "bundle", "predictions"]


def test_a_product_of_hours_has_them_all_also_where_the_clock_is_put_back(tmp_path: Path) -> None:
    hours = "{every: hour, start: 2025-10-26, end: 2025-10-27, timezone: Europe/Berlin}"

    steps = steps_of(visits(tmp_path, hours))

    assert (steps[0].first, steps[0].last) == ("2025-10-26-00:00", "2025-10-26-22:00")
    assert (steps[3].first, steps[3].last) == ("2025-10-26-23:00", "2025-10-26-23:00")


def visits(place: Path, partitions: str) -> Product:
    """A product that is declared and never run."""
    folder = place / "visits"
    folder.mkdir()
    (folder / "defs.yaml").write_text(
        "type: ai_assets.components.TabularProduct\n"
        "attributes:\n"
        "  description: Who comes?\n"
        f"  partitions: {partitions}\n"
        "  request: visits\n"
        "  tables:\n"
        "    visits:\n"
        "      source: {csv: a.csv}\n"
        "      time: at\n"
        "      columns: {at: {type: date}, came: {type: bool, known_at: 'NULL'}}\n"
        "  label: {sql: came}\n",
        encoding="utf-8",
    )
    return read_product(folder)


def test_a_product_with_partitions_is_learned_as_of_the_last_but_one_and_watched_on_the_last(
    tmp_path: Path,
) -> None:
    product = visits(tmp_path, "{every: month, start: 2024-01-01, end: 2024-04-01}")

    steps = [(step.stages[0], step.first, step.last) for step in steps_of(product)]
    whole = Product(
        product.name, product.folder, product.declaration.model_copy(update={"partitions": None})
    )

    assert steps_of(whole)[0].stages[-1] == "online"
    january, february, march = "2024-01-01", "2024-02-01", "2024-03-01"
    assert steps == [
        ("raw", january, february),
        ("training_set", february, february),
        ("bundle", february, february),
        ("raw", march, march),
        ("online", march, march),
        ("predictions", march, march),
    ]


def test_a_product_that_is_not_shipped_is_named_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["digit_readin"]) == 2

    assert "but got 'digit_readin'. Did you mean 'digit_reading'?" in capsys.readouterr().err


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in which digit_reading was taken to its release."""
    home = tmp_path_factory.mktemp("digits")
    (home / "dagster").mkdir()
    shutil.copy(ROOT / "dagster.yaml", home / "dagster")
    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.shipped", "digit_reading"],
        cwd=home,
        env=_environment(home),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digit_reading:" in done.stdout, "the table of what was released"
    return home


@pytest.fixture
def begun(digits: Path, tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    """A copy of that state without the model, and a run in the middle of fitting it."""
    home = tmp_path / "home"
    shutil.copytree(digits, home)
    shutil.rmtree(_lake(home).artifact(MODEL).parent.parent)
    run = _materialize(home, 'key:"digit_reading/model/cnn"')
    state = _lake(home).unfinished(MODEL)
    try:
        for _ in range(1800):
            if state.is_file() or run.poll() is not None:
                break
            time.sleep(0.1)
        assert state.is_file(), "the fit keeps its state"
        yield home, run
    finally:
        run.kill()
        run.communicate()


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestDigits:
    def test_a_picture_is_answered_with_its_digit(self, digits: Path, tmp_path: Path) -> None:
        import urllib.request

        lake = _lake(digits)
        rows = lake.scan(AssetName("digit_reading", "cleaned/digits")).head(40).collect()
        tag = ReleaseLedger(lake=lake).history("digit_reading").row(-1, named=True)["stable"]
        found = []
        with served(tag, digits / "bentoml", str(digits / "lake"), tmp_path / "log") as address:
            for image in rows["image"]:
                request = urllib.request.Request(
                    f"{address}/predict", png(image, (8, 8, 1)), {"Content-Type": "image/png"}
                )
                with urllib.request.urlopen(request, timeout=30) as response:
                    found.append(json.load(response)["predictions"][0])

        right = sum(int(f["label"]) == d for f, d in zip(found, rows["digit"], strict=True))
        assert right >= 38
        assert sum(found[0]["probabilities"].values()) == pytest.approx(1)

    def test_a_killed_fit_goes_on_and_ends_with_the_same_model(self, digits: Path, begun) -> None:
        home, run = begun

        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not _is_there(home)
        again = _materialize(home, 'key:"digit_reading/model/cnn"')
        _, said = again.communicate(timeout=600)

        assert again.returncode == 0, said
        # Artifacts are named by their content.
        assert _lake(home).artifact(MODEL).name == _lake(digits).artifact(MODEL).name
        assert not _lake(home).unfinished(MODEL).exists(), "nothing is left of what was unfinished"

    def test_a_cancelled_fit_leaves_no_half_of_a_model(
        self, begun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, run = begun

        run.send_signal(signal.SIGINT)
        run.communicate(timeout=120)

        assert run.returncode != 0
        assert not _is_there(home)
        monkeypatch.setenv("AI_ASSETS_HOME", str(home))
        client = ExperimentTracker().client()
        experiment = client.get_experiment_by_name("digit_reading")
        runs = client.search_runs([experiment.experiment_id], order_by=["start_time DESC"])
        assert runs[0].info.run_name == "model/cnn/all"
        assert runs[0].info.status == "KILLED"
