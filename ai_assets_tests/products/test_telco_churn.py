"""The customers of telco_churn: read as the package has them, and judged by groups unseen."""

from pathlib import Path

import polars as pl
import pytest

import ai_assets.products
from ai_assets.lifecycle.cleaning import check_columns, clean
from ai_assets.lifecycle.cleaning.clean import Cleaned
from ai_assets.lifecycle.cleaning.personal import pseudonym, treat
from ai_assets.lifecycle.features.query import run_features
from ai_assets.lifecycle.product import Product, read_product
from ai_assets.lifecycle.sources import read_source

KEY = b"a key of sixteen"
GROUPS = ("female", "senior_citizen")


@pytest.fixture(scope="module")
def product() -> Product:
    return read_product(Path(ai_assets.products.__file__).parent / "telco_churn")


@pytest.fixture(scope="module")
def raw(product: Product) -> pl.DataFrame:
    table = product.request_table
    return read_source(table.source, None, table=table, folder=product.folder).collect()


@pytest.fixture(scope="module")
def cleaned(product: Product, raw: pl.DataFrame) -> Cleaned:
    table = product.request_table
    return clean(treat(raw.lazy(), table, KEY), table)


def test_the_package_gives_every_customer_once(product: Product, raw: pl.DataFrame) -> None:
    check_columns(raw.lazy(), product.request_table, "customers")

    assert raw["customer"].to_list() == [str(number) for number in range(1, 7044)]
    assert (raw["churn"] == "Yes").sum() == 1869
    assert [(raw[name] == "1").sum() for name in GROUPS] == [3488, 1142]
    assert raw.filter(pl.col("customer") == "3").select("tenure", "total_charges").row(0) == (
        "2", "108.15",
    )  # fmt: skip


def test_no_customer_breaks_the_contract_and_those_without_a_bill_have_no_total(
    cleaned: Cleaned,
) -> None:
    assert (cleaned.counts.cleaned, cleaned.counts.rejected) == (7043, 0)
    without = cleaned.good.collect().filter(pl.col("total_charges").is_null())
    assert without["tenure"].to_list() == [0] * 11


def test_gender_and_seniority_reach_no_feature(product: Product, cleaned: Cleaned) -> None:
    query = {
        "specs": product.declaration.tables,
        "request_table": "customers",
        "horizon": product.declaration.horizon,
    }
    rows = cleaned.good.collect()
    other = rows.with_columns((1 - pl.col(name)).alias(name) for name in GROUPS)

    made, of_others = (
        run_features(product.features_sql, frame.lazy(), {"customers": frame.lazy()}, **query)
        for frame in (rows, other)
    )

    assert not set(GROUPS) & set(made.columns)
    assert made.sort("_row_id").equals(of_others.sort("_row_id"))
    third = rows.filter(pl.col("customer") == pseudonym("3", KEY))["_row_id"].item()
    row = made.filter(pl.col("_row_id") == third).row(0, named=True)
    assert row["price_rise"] == pytest.approx(53.85 * 2 / 108.15)
    assert row["added_services"] == 2


def test_the_number_of_a_customer_is_kept_as_a_pseudonym(cleaned: Cleaned) -> None:
    numbers = cleaned.good.collect()["customer"]

    assert numbers.to_list() == [pseudonym(str(n), KEY) for n in range(1, 7044)]


def test_callers_are_not_asked_for_what_the_model_is_judged_by(product: Product) -> None:
    late = product.request_table.late_columns

    assert set(late) == {"churn", *GROUPS}
