"""A declared parameter that its family cannot have is refused when the declaration is read."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ai_assets.lifecycle.learners import ALL_FAMILIES, get_family
from ai_assets.lifecycle.learners.lightgbm import LightGbm
from ai_assets.lifecycle.learners.ranges import RANGES, Allowed
from ai_assets.lifecycle.training.spec import Training


class Ends:
    """An Optuna trial that gives one end of each search, or a choice by its number."""

    def __init__(self, end: int) -> None:
        self.end = end

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        return (low, high)[self.end]

    def suggest_int(self, name: str, low: int, high: int, **_: Any) -> int:
        return (low, high)[self.end]

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[-self.end]


def mistakes(family: str, **given: Any) -> dict[str, str]:
    """What is said of declared parameters, by where it is."""
    try:
        Training.model_validate({"parameters": {family: given}})
    except ValidationError as error:
        return {".".join(map(str, one["loc"])): one["msg"] for one in error.errors()}
    return {}


@pytest.mark.parametrize("name", ALL_FAMILIES)
def test_all_that_a_family_has_may_be_declared_and_what_it_searches_lies_within(name: str) -> None:
    families = [LightGbm("cautious"), LightGbm("wide")]
    for family in families if name == "lightgbm" else [get_family(name)]:
        own = family.defaults()
        assert set(own) == set(RANGES[name])
        for found in (own, family.suggest(Ends(0)), family.suggest(Ends(1))):
            wrong = {n: v for n, v in found.items() if not RANGES[name][n].holds(v)}
            assert wrong == {}


@pytest.mark.parametrize(
    ("family", "name", "value", "allowed", "written"),
    [
        ("linear", "c", 0, "a number above 0", "0"),
        ("linear", "c", math.nan, "a number above 0", "nan"),
        ("lightgbm", "learning_rate", -0.1, "a number above 0", "-0.1"),
        ("lightgbm", "num_leaves", 1, "a whole number from 2 to 131072", "1"),
        ("lightgbm", "num_leaves", 31.5, "a whole number from 2 to 131072", "31.5"),
        ("lightgbm", "feature_fraction", 1.5, "a number above 0 and at most 1", "1.5"),
        ("lightgbm", "lambda_l2", math.inf, "a number of at least 0", "inf"),
        ("extra_trees", "extra_trees", 1, "true or false", "1"),
        ("mlp", "width", True, "a whole number of at least 1", "true"),
        ("mlp", "dropout", 1, "a number from 0 to below 1", "1"),
        ("cnn", "stem_stride", 3, "a whole number from 1 to 2", "3"),
        ("cnn", "rotation", 181.0, "a number from 0 to 180", "181.0"),
        ("cnn", "weights", 3, "a text", "3"),
        ("probe", "C", "30", "a number above 0", "'30'"),
        ("encoder", "layer_decay", 0.0, "a number above 0 and at most 1", "0.0"),
    ],
)
def test_a_value_out_of_range_is_told_with_what_is_allowed_and_where(
    family: str, name: str, value: Any, allowed: str, written: str
) -> None:
    assert mistakes(family, **{name: value}) == {
        f"parameters.{family}.{name}": f"{name} of {family} must be {allowed}, but got {written}."
    }


def test_all_mistakes_are_told_at_once_and_beside_them_a_name_that_is_none() -> None:
    said = mistakes("mlp", width=0, dropuot=0.1, dropout=-0.1, layers=2)

    assert set(said) == {f"parameters.mlp.{n}" for n in ("width", "dropuot", "dropout")}
    assert said["parameters.mlp.dropuot"].endswith("but got 'dropuot'. Did you mean 'dropout'?")


@pytest.mark.parametrize(
    ("family", "given"),
    [
        ("lightgbm", {"num_leaves": 2, "feature_fraction": 1, "lambda_l2": 0, "max_bin": 2}),
        ("cnn", {"stem_stride": 2, "rotation": 180, "dropout": 0, "average": 1.0, "weights": ""}),
        ("encoder", {"layer_decay": 1, "warm_up": 0.99}),
    ],
)
def test_the_bounds_themselves_may_be_declared(family: str, given: dict[str, Any]) -> None:
    assert Training(parameters={family: given}).parameters == {family: given}


def test_a_count_with_a_point_becomes_a_whole_number() -> None:
    found = Training(parameters={"lightgbm": {"num_leaves": 31.0}}).parameters

    assert repr(found) == "{'lightgbm': {'num_leaves': 31}}"


def beyond(allowed: Allowed) -> list[float]:
    """The nearest numbers that are not allowed."""
    found = [] if allowed.least is None else [allowed.least - 1]
    found += [] if allowed.above is None else [allowed.above]
    return found + ([] if allowed.most is None else [allowed.most + 1])


@pytest.mark.parametrize("name", [n for n, a in RANGES["lightgbm"].items() if a.kind != "flag"])
def test_lightgbm_takes_what_is_allowed_to_the_bound_and_nothing_beyond(name: str) -> None:
    import lightgbm

    def train(value: float) -> Any:
        x = np.arange(60.0).reshape(30, 2)
        rows = lightgbm.Dataset(x, x[:, 0] > 20, params={"verbose": -1})
        own = {"objective": "binary", "verbose": -1, "num_threads": 1, name: value}
        return lightgbm.train(own, rows, 1)

    allowed = RANGES["lightgbm"][name]
    for bound in (allowed.least, allowed.most):
        assert bound is None or train(bound).num_trees() == 1
    assert beyond(allowed)
    for value in beyond(allowed):
        with pytest.raises(lightgbm.basic.LightGBMError):
            train(value)
