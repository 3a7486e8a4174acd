"""What the UI shows of a table's columns: type, meaning, unit, and what the contract allows."""

import numpy as np
import polars as pl

from ai_assets.lifecycle.evaluation.evaluate import evaluate
from ai_assets.lifecycle.schema.tables import Column, Table
from ai_assets.stages.evaluation import metrics_told
from ai_assets.stages.meanings import DRIFT, of_features
from ai_assets.stages.shown import rows_and_columns, table

DECLARED = {
    "tenure": Column(
        type="int64",
        min=0,
        max=120,
        unit="month",
        nullable=False,
        description="How long a customer",
    ),
    "contract": Column(type="string", allowed=[f"plan {n}" for n in range(12)]),
    "mail": Column(type="string", personal=True, unit="address"),
}


def test_a_declared_column_is_shown_with_its_meaning_and_contract() -> None:
    schema = pl.Schema({"tenure": pl.Int64, "contract": pl.String, "mail": pl.String, "x": pl.Date})

    shown = rows_and_columns(schema, 7, DECLARED)

    assert shown["dagster/row_count"] == 7
    tenure, contract, mail, other = shown["dagster/column_schema"].columns
    assert (tenure.name, tenure.type, tenure.description) == (
        "tenure", "Int64", "How long a customer (unit: month)",
    )  # fmt: skip
    assert not tenure.constraints.nullable
    assert tenure.constraints.other == ["at least 0", "at most 120"]
    plans = ", ".join(f"plan {n}" for n in range(10))
    assert (contract.description, contract.constraints.other) == (None, [f"one of {plans}, …"])
    assert (mail.description, mail.constraints.other) == ("(unit: address)", ["personal"])
    assert (other.name, other.description, other.constraints.other) == ("x", None, [])


def test_a_table_without_a_contract_is_shown_by_its_types() -> None:
    (column,) = rows_and_columns(pl.DataFrame({"a": [1.5]}), 1)["dagster/column_schema"].columns

    assert (column.name, column.type, column.description) == ("a", "Float64", None)


def test_columns_of_the_graphs_own_tables_are_shown_with_what_they_mean() -> None:
    frame = pl.DataFrame({"psi": [0.1], "of the user": [1]})

    psi, other = rows_and_columns(frame, 1, meanings=DRIFT)["dagster/column_schema"].columns

    assert (psi.name, psi.description) == ("psi", "Population stability index: 0 is no change")
    assert other.description is None


def test_a_feature_means_what_the_column_of_its_name_does_else_what_it_is_made_of() -> None:
    source = {"csv": "customers.csv"}
    customers = Table.model_validate({"source": source, "columns": DECLARED})
    column = Column(type="float64", description="What was asked for")
    calls = Table.model_validate({"source": source, "columns": {"mail": column, "x": column}})
    lineage = {
        "tenure": [("request", "tenure")],
        "x": [("calls", "known_at"), ("calls", "x"), ("request", "mail")],
        "months": [("request", "tenure")],
        "mail": [("calls", "mail"), ("request", "mail")],
        "contract": [("request", "contract")],
        "hour": [("request", "_row_id"), ("request", "prediction_time")],
        "one": [],
    }
    carried = {"tenure": ("request", "tenure"), "contract": ("request", "contract")}
    carried |= {"x": ("calls", "x"), "hour": ("request", "prediction_time")}

    meant = of_features({"customers": customers, "calls": calls}, "customers", lineage, carried)

    assert meant.pop("_row_id").startswith("The row")
    del meant["_rule"]
    assert meant == {
        "tenure": "How long a customer (unit: month)",
        "x": "What was asked for",
        "months": "Made of request.tenure",
        "mail": "Made of calls.mail, request.mail",
        "contract": "Made of request.contract",
        "hour": "Made of request.prediction_time",
    }


def test_a_table_without_rows_is_told_in_a_word() -> None:
    assert table(pl.DataFrame({"rule": [], "rows": []})).value == "none"
    assert table(pl.DataFrame({"rule": ["weight"], "rows": [2]})).value.endswith("| weight | 2 |")


def test_metrics_say_why_they_have_no_value_where_one_has_none() -> None:
    rows, scores = pl.DataFrame({"shop": ["a"] * 3}), np.array([0.2, 0.9, 0.6])
    both = metrics_told(evaluate(rows, [0, 1, 1], scores, 0.5, seed=1, resamples=20))
    one = metrics_told(evaluate(rows, [1, 1, 1], scores, 0.5, seed=1, resamples=20))

    assert both.columns == ["metric", "value", "low", "high"]
    assert both["value"].null_count() == 0
    assert one.columns == [*both.columns, "words"]
    told = dict(one.select("metric", "words").iter_rows())
    assert told["roc_auc"] == "undefined: the rows hold one class only"
    assert told["accuracy"] is None
    assert "| roc_auc |  |  |  | undefined: the rows hold one class only |" in table(one).value
