"""What a product declares about training: the `training:` part of its YAML."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ai_assets.lifecycle.errors import DeclarationError, must_be
from ai_assets.lifecycle.learners import ALL_FAMILIES, ALLOWED_OF, FAMILIES
from ai_assets.lifecycle.learners.ranges import RANGES, out_of_range, schema_of_parameters
from ai_assets.lifecycle.schema.durations import Duration
from ai_assets.lifecycle.schema.section import Mistake, Section, located
from ai_assets.lifecycle.training.costs import AnyCosts, a_cost
from ai_assets.lifecycle.training.names import METRICS_OF_TASK, metric_names

Share = Annotated[float, Field(gt=0, lt=1)]


class Split(Section):
    """Shares of the rows. By time where there is one (test is the latest), else by hash of key.

    With a long window a share is a long time: what is judged has then not seen the newest weeks. A
    length of time, such as `14 days`, is the same whatever the window.
    """

    validation: Share | Duration = Field(
        0.15,
        description="Share, or time, for stopping, tuning's winner, calibration, threshold.",
    )
    test: Share | Duration = Field(
        0.15,
        description="Share, or time, for evaluation and gate, used for nothing else.",
    )
    least_test: int = Field(
        200,
        ge=0,
        description="Of a table without partitions: where fewer test rows would be set aside, "
        "none are; every row then teaches, and repeated cross-validation judges. Of 200 rows an "
        "accuracy of 0.9 is known to 4 points, of 10 to 19. 0: test rows are always set aside.",
    )
    repeats: int = Field(
        5, ge=1, le=100, description="How many times such a cross-validation of 5 folds is done."
    )
    group: list[str] = Field(
        default_factory=list,
        description="Columns of the request whose rows belong together, such as translations of "
        "one question or pictures of one person: rows alike in them share a part and a fold. Only "
        "without partitions; with them time keeps parts apart.",
    )

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> "Split":
        given = (self.validation, self.test)
        lengths = [part for part in given if isinstance(part, timedelta)]
        if len(lengths) == 1:
            raise ValueError("validation and test must both be shares or both lengths of time.")
        if any(length <= timedelta(0) for length in lengths):
            raise ValueError(must_be("validation and test", "longer than 0 seconds", min(lengths)))
        shares = [part for part in given if isinstance(part, float)]
        if (taken := sum(shares)) > 0.9:
            raise ValueError(must_be("validation + test", "at most 0.9", round(taken, 4)))
        return self


class Tune(Section):
    """The search for parameters."""

    trials: int = Field(12, ge=1, le=1000, description="Parameter sets to try, for each family.")
    folds: int = Field(
        3,
        ge=1,
        le=20,
        description="Folds that each set is judged on; time runs forward in them. A set is given "
        "up after a fold where it is worse than the median so far; with one fold, from the sixth "
        "set on, where its loss improves no more and is worse than the median at that step.",
    )
    rule: Literal["best", "clearly_better"] = Field(
        "best",
        description="Which set is taken. best: the best on the held-out rows. clearly_better: the "
        "family's own parameters, unless the best of the search is better than them by more than "
        "chance, judged by drawing whole days where there are ten of them. The rows of a day share "
        "its luck, so on few weeks the best of many sets is often the luckiest.",
    )
    space: Literal["cautious", "wide"] = Field(
        "cautious",
        description="Where boosted trees are looked for. cautious: around strong regularisation, "
        "for rows that drift: what one month teaches seldom holds whole in the next. wide: from "
        "stumps to large trees, for rows that are all of one time. Other families have one space.",
    )
    refresh: int = Field(
        1,
        ge=1,
        description="Search anew after so many partitions; in between the newest parameters are "
        "taken over, so that a retraining costs no search.",
    )
    timeout: Duration | None = Field(
        None,
        description="Limit for each family, of which some are tuned at the same time. Beyond it "
        "tuning fails with advice: stopping early would let the machine's speed decide the result. "
        "Default: none.",
    )
    max_rows: int = Field(
        200_000,
        ge=100,
        description="Most rows to tune on: the latest by time, else a sample by hash of key. The "
        "study says how many were used.",
    )

    @field_validator("timeout")
    @classmethod
    def _timeout_is_positive(cls, given: timedelta | None) -> timedelta | None:
        if given is not None and given <= timedelta(0):
            raise ValueError(must_be("timeout", "longer than 0 seconds", given.total_seconds()))
        return given


class Training(Section):
    """How models are made."""

    window: int = Field(3, ge=1, description="Partitions to train on, ending with the model's own.")
    accept: list[str] = Field(
        default_factory=list,
        description="Partitions to learn from though their verdict says broken data: a person "
        "looked at them and found them right. Others with that verdict are left out.",
    )
    families: list[str] = Field(
        default_factory=lambda: list(FAMILIES),
        min_length=1,
        description="Families that compete. Default: all of the kind but extra_trees. Allowed: "
        + "; ".join(f"{kind}: {', '.join(names)}" for kind, names in ALLOWED_OF.items())
        + ".",
    )
    blend: bool = Field(
        True,
        description="Whether a weighted mean of the families competes with them. It wins only "
        "where it is clearly better than the best of them: it costs the server all of them.",
    )
    parameters: dict[str, dict[str, float | int | bool | str]] = Field(
        default_factory=dict,
        description="Parameters by family that replace the family's own and are not searched, for "
        "example `lightgbm: {min_child_samples: 1000}`. A value that its family cannot have is "
        "refused.",
        json_schema_extra=schema_of_parameters(),
    )
    metric: str | None = Field(
        None,
        description="What decides between parameters and families. Default: log_loss, or rmse for "
        "a regression, poisson_deviance of counts. Allowed: "
        + "; ".join(f"{task}: {', '.join(names)}" for task, names in METRICS_OF_TASK.items())
        + ".",
    )
    split: Split = Field(default_factory=Split, description="Shares of validation and test rows.")
    tune: Tune = Field(default_factory=Tune, description="The search for parameters.")
    class_weight: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: each class weighs the same in training, whatever its number of "
        "rows. Probabilities are then too high for rare classes until they are calibrated.",
    )
    costs: AnyCosts | None = Field(
        None,
        description="What wrong answers cost, in any one unit. Of a binary task `missed` and "
        "`false_alarm`, and what a `hit` gains: the threshold follows from them. Of several "
        "classes, by the class that is right, what each other answer costs, as `{fault: {fine: "
        "20}}`, 1 where nothing is said: the answer is that of the least expected cost. Such "
        "answers want probabilities: see `calibration`.",
    )
    calibration: Literal["none", "sigmoid", "isotonic"] = Field(
        "none",
        description="Correction of probabilities, learned on validation. isotonic wants thousands "
        "of validation rows.",
    )
    refit: Literal["none", "full"] = Field(
        "none",
        description="full: fit the winner again on all rows of the window, for as many iterations. "
        "It learns from the latest rows, and no row is left to judge that very model.",
    )
    ignore_features: list[str] | dict[str, list[str]] = Field(
        default_factory=list,
        description="Features that models must not learn from, though requests have them; for all "
        "families, or by family: `linear: [temp]`. For example a level that the season moves: "
        "trees stop at what they have seen, a linear model and a network go on beyond it.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    threads: int = Field(
        2,
        ge=0,
        description="CPU threads at most; 0 is every core. A fixed number makes equal inputs give "
        "equal bytes on machines with different numbers of cores.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where neural networks train; auto is a GPU where there is one. Equal bytes "
        "are promised on the CPU only.",
    )

    @field_validator("accept", mode="before")
    @classmethod
    def _accept_dates(cls, given: Any) -> Any:
        """YAML reads a day as a date."""
        days = isinstance(given, list)
        return [str(key) if isinstance(key, date) else key for key in given] if days else given

    @field_validator("families")
    @classmethod
    def _families_exist(cls, given: list[str]) -> list[str]:
        for name in given:
            if name not in ALL_FAMILIES:
                raise ValueError(must_be("family", ALL_FAMILIES, name))
        if len(set(given)) < len(given):
            raise ValueError(f"families must be named once each, but got {given}.")
        return given

    @field_validator("costs")
    @classmethod
    def _costs_of_classes(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for cost in (cost for answers in given.values() for cost in answers.values()):
                a_cost(cost)
        return given

    @field_validator("parameters")
    @classmethod
    def _parameters_exist(cls, given: dict[str, Any]) -> dict[str, Any]:
        mistakes: list[Mistake] = []
        for name, settings in given.items():
            if name not in ALL_FAMILIES:
                raise ValueError(must_be("a family in parameters", ALL_FAMILIES, name))
            known = RANGES[name]
            mistakes += [
                ((name, one), value, must_be(f"a parameter of {name}", list(known), one))
                for one, value in settings.items()
                if one not in known
            ]
            wrong = out_of_range(name, settings)
            mistakes += [((name, one), settings[one], said) for one, said in wrong]
        if mistakes:
            raise located(mistakes)
        return {name: _whole(name, settings) for name, settings in given.items()}

    @field_validator("ignore_features")
    @classmethod
    def _families_ignore(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in ALL_FAMILIES:
                raise ValueError(must_be("a family in ignore_features", ALL_FAMILIES, name))
        return given

    @field_validator("metric")
    @classmethod
    def _metric_exists(cls, given: str | None) -> str | None:
        if given is not None and given not in metric_names():
            raise ValueError(must_be("metric", metric_names(), given))
        return given

    def ignored_by(self, family: str) -> list[str]:
        """The features that a family must not learn from."""
        given = self.ignore_features
        return given.get(family, []) if isinstance(given, dict) else given

    def metric_for(self, task: str) -> str:
        """The metric that decides.

        Raises:
            DeclarationError: the declared metric says nothing about such a task.
        """
        allowed = METRICS_OF_TASK[task]
        if self.metric is not None and self.metric not in allowed:
            raise DeclarationError(must_be(f"metric of a {task} task", allowed, self.metric))
        return self.metric or allowed[0]


def named_families(given: Any) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """The families that a declaration of training names: as what, where in it, and the name.

    Args:
        given: the declaration, read or still as YAML has it, where anything may be wrong.
    """
    content = given.model_dump() if isinstance(given, Training) else given
    if not isinstance(content, dict):
        return
    families = content.get("families")
    if isinstance(families, list):
        yield from (("family", ("families", at), n) for at, n in enumerate(families) if _is_text(n))
    for part in ("parameters", "ignore_features"):
        if isinstance(content.get(part), dict):
            names = filter(_is_text, content[part])
            yield from ((f"a family in {part}", (part, name), name) for name in names)


def _is_text(name: Any) -> bool:
    return isinstance(name, str)


def _whole(family: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Counts as whole numbers, though they were written with a point: libraries refuse `31.0`."""
    kinds = RANGES[family]
    return {n: int(v) if kinds[n].kind == "whole" else v for n, v in settings.items()}
