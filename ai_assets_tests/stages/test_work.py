"""A stage names the function that does its work; the function is there and takes what is given."""

import inspect
import sys
from pathlib import Path

import pytest

import ai_assets.products
from ai_assets.lifecycle.product import read_product
from ai_assets.stages import stages_of
from ai_assets.stages.work import Work, work


def test_every_stage_names_a_function_that_takes_the_run_and_what_is_given():
    flights = read_product(Path(ai_assets.products.__file__).parent / "flight_delay")

    for stage in stages_of(flights):
        named = stage.together or stage.compute

        assert isinstance(named, Work), stage.asset
        inspect.signature(named.resolved()).bind("the run")


def test_what_is_given_reaches_the_function_beside_the_run(monkeypatch):
    monkeypatch.setattr("ai_assets.stages.raw.has_rows", lambda *given, **named: (given, named))

    assert work("raw:has_rows", name="flights")("run") == (("run",), {"name": "flights"})


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
