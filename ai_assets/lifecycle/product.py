"""A product as declared: the parts of the YAML put together, and what follows from them."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import Field, field_validator, model_validator

from ai_assets.lifecycle.card.spec import Card
from ai_assets.lifecycle.compression.spec import Compression
from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.errors import DeclarationError, did_you_mean, must_be
from ai_assets.lifecycle.evaluation.names import MAIN_METRIC
from ai_assets.lifecycle.evaluation.spec import Withstands
from ai_assets.lifecycle.fairness.spec import Fairness
from ai_assets.lifecycle.gate.spec import Gate
from ai_assets.lifecycle.learners import ALLOWED_OF, FAMILIES_OF
from ai_assets.lifecycle.naming import AssetName, check_product_name
from ai_assets.lifecycle.operations.spec import Backtest
from ai_assets.lifecycle.partitions import Partitions
from ai_assets.lifecycle.retraining.spec import Retrain
from ai_assets.lifecycle.rollout.spec import Rollout
from ai_assets.lifecycle.schema.decision import CostMatrix
from ai_assets.lifecycle.schema.durations import Duration, parse_duration
from ai_assets.lifecycle.schema.label import Label, word_of
from ai_assets.lifecycle.schema.near import Near, NearDuplicates
from ai_assets.lifecycle.schema.section import Mistake, Section, located
from ai_assets.lifecycle.schema.serving import Serving
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.lifecycle.suited import unsuited
from ai_assets.lifecycle.training.costs import matrix_of
from ai_assets.lifecycle.training.spec import Training, named_families
from ai_assets.lifecycle.verdict.spec import Causes


class TabularDeclaration(Section):
    """One tabular AI product, from its tables to what may be released."""

    kind: ClassVar[str] = "tabular"

    description: str = Field(description="The question that the product answers, in one sentence.")
    owners: list[str] = Field(
        default_factory=list, description="E-mail addresses, or team:<name>, shown on every asset."
    )
    partitions: Partitions | None = Field(
        None, description="How event time is cut. Without it every asset holds the whole snapshot."
    )
    request: str = Field(description="The table whose rows are scored.")
    tables: dict[str, Table] = Field(description="The tables of the product, by name.")
    features: str | None = Field(
        "features.sql", description="File with the feature query, beside the YAML."
    )
    horizon: Duration = Field(
        default_factory=lambda: parse_duration("0 days"),
        description="How long before the event the answer is given.",
    )
    lookback: Duration = Field(
        default_factory=lambda: parse_duration("1 day"),
        description="How far before a partition, and the horizon before it, the feature query may "
        "look.",
    )
    label: Label = Field(description="What is predicted.")
    training: Training = Field(default_factory=Training, description="How models are made.")
    slices: list[str] = Field(
        default_factory=list, description="Columns of the request table to evaluate by."
    )
    fairness: Fairness | None = Field(
        None, description="Groups of people that the model is to treat alike. Default: none."
    )
    compression: Compression = Field(
        default_factory=Compression, description="What may be lost for a smaller, faster model."
    )
    gate: Gate = Field(default_factory=Gate, description="What a bundle must meet to be released.")
    card: Card = Field(default_factory=Card, description="What its model card says beside figures.")
    drift: Drift = Field(default_factory=Drift, description="When a changed input is called drift.")
    causes: Causes = Field(
        default_factory=Causes, description="When a finding names the cause of a change."
    )
    serving: Serving = Field(default_factory=Serving, description="What its server does.")
    retrain: Retrain = Field(
        default_factory=Retrain, description="When a verdict, or the calendar, starts a retraining."
    )
    rollout: Rollout = Field(
        default_factory=Rollout,
        description="How a challenger takes over from what is in production.",
    )
    backtest: Backtest = Field(
        default_factory=Backtest, description="What the loop is compared with."
    )

    @model_validator(mode="before")
    @classmethod
    def _families_of_the_kind(cls, given: Any) -> Any:
        training = (given.get("training") or {}) if isinstance(given, dict) else None
        if isinstance(training, dict) and "families" not in training:
            return given | {"training": training | {"families": list(FAMILIES_OF[cls.kind])}}
        return given

    @model_validator(mode="before")
    @classmethod
    def _champion_of_the_task(cls, given: Any) -> Any:
        """A challenger is compared by what its task is judged by, where nothing is declared."""
        label = given.get("label") if isinstance(given, dict) else None
        if not isinstance(label, dict) or label.get("task") != "regression":
            return given
        gate = given.get("gate") or {}
        champion = gate.get("champion", {}) if isinstance(gate, dict) else None
        if not isinstance(champion, dict) or "metric" in champion:
            return given
        own = {"champion": champion | {"metric": MAIN_METRIC["regression"]}}
        return given | {"gate": gate | own}

    @field_validator("training", mode="before")
    @classmethod
    def _families_read_the_kind(cls, given: Any) -> Any:
        allowed, kind = ALLOWED_OF[cls.kind], f"of a product of kind '{cls.kind}'"
        mistakes: list[Mistake] = [
            (at, name, must_be(f"{what} {kind}", allowed, name))
            for what, at, name in named_families(given)
            if name not in allowed
        ]
        if mistakes:
            raise located(mistakes)
        return given

    @model_validator(mode="after")
    def _parts_suit_the_task(self) -> "TabularDeclaration":
        for problem in unsuited(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> "TabularDeclaration":
        if self.request not in self.tables:
            raise ValueError(must_be("request", self.tables, self.request))
        for key in self.training.accept:
            if self.partitions is None or not self.partitions.is_key(key):
                raise ValueError(must_be("training.accept", "keys of partitions", key))
        columns = self.tables[self.request].columns
        named = [("slices", name) for name in self.slices]
        named += [("training.split.group", name) for name in self.training.split.group]
        protected = self.fairness.columns if self.fairness else ()
        named += [("fairness.columns", name) for name in protected]
        for field, name in named:
            if name not in columns:
                raise ValueError(
                    f"{field} must name columns of '{self.request}', but got '{name}'."
                    f"{did_you_mean(name, columns)}"
                )
        if self.partitions is not None and self.training.split.group:
            raise ValueError(
                "training.split.group is for products without partitions, whose parts time does "
                f"not keep apart, but got {self.training.split.group}."
            )
        for name, table in self.tables.items():
            if self.partitions is not None and table.time is not None and table.source.landing:
                raise ValueError(
                    f"tables.{name}.source.landing is for tables without partitions: a file that "
                    f"lands is the whole table, but '{name}' is cut by its time '{table.time}'."
                )
        if self.partitions is not None and self.tables[self.request].time is None:
            raise ValueError(
                f"tables.{self.request}.time must name the event time, since the product has "
                "partitions, but got none."
            )
        return self

    @model_validator(mode="after")
    def _classes_are_known(self) -> "TabularDeclaration":
        if self.label.task == "multiclass" and len(self.answers) < 2:
            raise ValueError(
                "label.classes must name the classes, since label.sql is not the name of a column "
                f"of '{self.request}' with allowed values, but got none."
            )
        return self

    @property
    def costs(self) -> CostMatrix | None:
        """What answers cost, by label and answer in the order of `answers`; None if undeclared."""
        return matrix_of(self.training.costs, self.answers)

    @property
    def answers(self) -> tuple[str, ...]:
        """Words of the answers in the order of their numbers; negative before positive.

        A regression has none.
        """
        label = self.label
        if label.task == "binary":
            return (label.negative or f"not {label.positive}", label.positive)
        if label.task == "regression":
            return ()
        if label.classes is not None:
            return tuple(label.classes)
        column = self._labelled_column
        return tuple(word_of(value) for value in (column and column.allowed) or ())

    @property
    def classes(self) -> tuple[str, ...]:
        """Words of several classes in the order of their numbers; none of another task."""
        return self.answers if self.label.task == "multiclass" else ()

    @property
    def unit(self) -> str | None:
        """Unit of a regression's values, where `label.sql` is the name of a column that has one."""
        column = self._labelled_column
        return column.unit if column is not None and self.label.task == "regression" else None

    @property
    def _labelled_column(self) -> Column | None:
        """The column of the request that the label is, where `label.sql` is a mere name."""
        return self.tables[self.request].columns.get(self.label.sql.strip().strip('"'))

    def number_of(self, outcome: str | float) -> float | None:
        """The label of an outcome: 0 or 1, the number of the class, or the value of a regression.

        None of a word that is no answer of this declaration.
        """
        if not isinstance(outcome, str):
            return outcome
        if self.label.task == "regression":
            return None
        if self.label.task == "binary":
            return float(outcome == self.label.positive)
        return float(self.answers.index(outcome)) if outcome in self.answers else None


class ItemDeclaration(TabularDeclaration):
    """A product whose model reads one item of each row as a whole."""

    features: str | None = Field(
        None,
        description="File with the feature query, beside the YAML. Default: the item as it is.",
    )
    near_duplicates: NearDuplicates = Field(
        default_factory=NearDuplicates,
        description="What is done with items of the request table that nearly repeat another one.",
    )
    robustness: Withstands = Field(
        default_factory=Withstands,
        description="What the model must withstand; a check warns where it does not.",
    )

    @model_validator(mode="after")
    def _one_item(self) -> "ItemDeclaration":
        found = [n for n, c in self.tables[self.request].columns.items() if c.type == self.kind]
        if len(found) != 1:
            raise ValueError(
                f"tables.{self.request}.columns must have one column of type '{self.kind}', which "
                f"is what the model reads, but got {found or 'none'}."
            )
        return self

    @property
    def item(self) -> str:
        """The column of the request that the model reads."""
        columns = self.tables[self.request].columns
        return next(name for name, column in columns.items() if column.type == self.kind)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the request that `label.sql` names."""
        words = set(re.findall(r"\w+", self.label.sql.casefold()))
        there = self.tables[self.request].columns
        return tuple(n for n in there if n.casefold() in words and n != self.item)


class ImageDeclaration(ItemDeclaration):
    """One AI product over images: tables with a column of type image, and what is seen on it."""

    kind: ClassVar[str] = "image"


class TextDeclaration(ItemDeclaration):
    """One AI product over texts: tables with a column of type text, and what it is about."""

    kind: ClassVar[str] = "text"

    languages: list[str] = Field(
        default_factory=lambda: ["en"],
        min_length=1,
        description="Languages that the encoder was trained for (ISO 639-1): of others the quality "
        "is measured and warned of. Default: English, as the shipped encoder was.",
    )


DECLARATIONS: dict[str, type[TabularDeclaration]] = {
    declared.kind: declared for declared in (TabularDeclaration, ImageDeclaration, TextDeclaration)
}
"""What a product declares, by its kind."""


@dataclass(frozen=True)
class Product:
    """A declared product: its name, the folder it was read from and the declaration."""

    name: str
    folder: Path
    declaration: TabularDeclaration

    def __post_init__(self) -> None:
        check_product_name(self.name)

    def asset(self, asset: str) -> AssetName:
        return AssetName(self.name, asset)

    @property
    def request_table(self) -> Table:
        return self.declaration.tables[self.declaration.request]

    @cached_property
    def history(self) -> dict[str, Table]:
        """Tables with an event time: partitioned when the product is, read as history."""
        return {n: t for n, t in self.declaration.tables.items() if t.time is not None}

    @cached_property
    def lookups(self) -> dict[str, Table]:
        """Tables without an event time: they travel in the bundle."""
        return {n: t for n, t in self.declaration.tables.items() if t.time is None}

    @property
    def partitions(self) -> Partitions | None:
        return self.declaration.partitions

    def near(self, table: str) -> Near | None:
        """Which near-duplicates cleaning looks for in a table, if any."""
        declared = self.declaration
        if not isinstance(declared, ItemDeclaration) or table != declared.request:
            return None
        if declared.near_duplicates.keep == "all":
            return None
        return Near(declared.item, declared.label_columns, declared.near_duplicates)

    def is_partitioned(self, table: str) -> bool:
        return self.partitions is not None and table in self.history

    @property
    def reach(self) -> int:
        """How many partitions before its own the feature query reads, back from its answers."""
        looks_back = self.declaration.lookback + self.declaration.horizon
        return self.partitions.reach(looks_back) if self.partitions else 0

    @property
    def delay(self) -> int:
        """How many partitions back the events lie whose labels arrive in one."""
        arrives_after = self.declaration.label.arrives_after
        return self.partitions.reach(arrives_after) if self.partitions else 0

    def window(self, partition: str | None) -> list[str] | None:
        """The partitions that a model as of `partition` learns from."""
        if self.partitions is None or partition is None:
            return None
        return self.partitions.window(partition, self.declaration.training.window)

    @cached_property
    def features_sql(self) -> str:
        """The text of the feature query.

        Raises:
            DeclarationError: the file is missing.
        """
        name = self.declaration.features
        if name is None:
            assert isinstance(self.declaration, ItemDeclaration)
            item = self.declaration.item.replace('"', '""')
            return f'SELECT r._row_id, r."{item}" FROM request AS r\n'
        file = self.folder / name
        if not file.is_file():
            here = [p.name for p in self.folder.glob("*.sql")]
            raise DeclarationError(
                f"features must name a file in the folder of '{self.name}', but got "
                f"'{name}'.{did_you_mean(name, here)}"
            )
        return file.read_text(encoding="utf-8")


def read_product(folder: Path) -> Product:
    """The product that a folder's `defs.yaml` declares, without Dagster.

    Raises:
        DeclarationError: there is no such file.
    """
    file = folder / "defs.yaml"
    if not file.is_file():
        raise DeclarationError(f"A product is a folder with a defs.yaml, but {file} is missing.")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    kind = str(content.get("type", "")).rpartition(".")[2].removesuffix("Product").lower()
    if kind not in DECLARATIONS:
        components = [f"ai_assets.components.{name.title()}Product" for name in DECLARATIONS]
        raise DeclarationError(must_be(f"type in {file}", components, content.get("type")))
    return Product(folder.name, folder, DECLARATIONS[kind].model_validate(content["attributes"]))
