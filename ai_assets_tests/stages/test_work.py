"""A stage names the function that does its work; the function is there and takes what is given."""

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import ai_assets.products
from ai_assets.lifecycle.product import read_product
from ai_assets.resources.cores import Cores
from ai_assets.stages import stages_of
from ai_assets.stages.binding import Outcome, Stage, StageRun
from ai_assets.stages.work import Work, work


def test_every_stage_names_a_function_that_takes_the_run_and_what_is_given():
    flights = read_product(Path(ai_assets.products.__file__).parent / "flight_delay")

    for stage in stages_of(flights):
        named = stage.together or stage.compute

        assert isinstance(named, Work), stage.asset
        inspect.signature(named.resolved()).bind("the run")


def test_what_is_given_reaches_the_function_beside_the_run(monkeypatch):
    monkeypatch.setattr("ai_assets.stages.raw.treatments", lambda *given, **named: (given, named))

    assert work("raw:treatments", name="flights")("run") == (("run",), {"name": "flights"})


def test_naming_work_imports_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "ai_assets.stages.online", raising=False)

    named = work("online:take_latest")

    assert "ai_assets.stages.online" not in sys.modules
    assert named.resolved().func.__name__ == "take_latest"
    assert "ai_assets.stages.online" in sys.modules


@pytest.mark.parametrize(
    ("name", "error"),
    [("nowhere:compute", ModuleNotFoundError), ("raw:nothing", AttributeError)],
)
def test_a_name_without_a_function_is_an_error_of_the_run(name, error):
    with pytest.raises(error):
        work(name)("run")


def test_a_stage_that_trains_has_its_cores_while_it_does(tmp_path):
    cores = Cores(folder=str(tmp_path), count=1)
    told: list[str] = []

    def free() -> bool:
        def give_up(words: str) -> None:
            raise BlockingIOError(words)

        try:
            with cores.lent(1, give_up):
                return True
        except BlockingIOError as waits:
            told.append(str(waits))
            return False

    def compute(run: StageRun) -> Outcome:
        return Outcome(metadata={"free": free()})

    run = StageRun(None, None, SimpleNamespace(cores=cores))
    (training,) = Stage("model", "model", "trains", compute, threads=1).outcomes([run])
    (scoring,) = Stage("predictions", "predictions", "does not", compute).outcomes([run])

    assert not training.metadata["free"]
    assert "another run has the machine's cores" in told[0]
    assert scoring.metadata["free"]
    assert free()


def test_the_stages_that_train_say_with_how_many_threads():
    digits = read_product(Path(ai_assets.products.__file__).parent / "digit_reading")

    assert {stage.asset: stage.threads for stage in stages_of(digits) if stage.threads} == {
        "tuning": 2,
        "model/cnn": 2,
        "model": 2,
        "compressed_model": 2,
    }
