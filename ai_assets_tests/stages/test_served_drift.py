"""Drift of what callers asked: the stable bundle's answers against what it learned from."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from small_product import MARCH, World, finding

from ai_assets.lifecycle.drift.spec import Drift
from ai_assets.lifecycle.features.encoding import EncodedColumn, Encoding
from ai_assets.serving.scoring import Scorer
from ai_assets.stages.served import SERVED
from ai_assets.stages.served_drift import features_of

FEWEST = Drift().min_rows


def asked(world: World, rows: pl.DataFrame, **changes: Any) -> pl.DataFrame:
    """Answers of the release to these features, as `served` holds them."""
    tag = world.tools.ledger.history("late_orders")["stable"][-1]
    scores = Scorer(world.tools.bundles.load(tag)).score_features(rows)
    names = [name for name in rows.columns if not name.startswith("_")]
    texts = [json.dumps({n: _seen(row[n]) for n in names}) for row in rows.iter_rows(named=True)]
    told = {"bundle": tag, "role": "stable", "probability": scores.probability, "features": texts}
    columns = {name: pl.lit(None, kind).alias(name) for name, kind in SERVED.items()}
    frame = pl.DataFrame({"_row_id": rows["_row_id"]}).with_columns(
        *(column for name, column in columns.items() if name not in told and name != "_row_id"),
        *(pl.Series(n, v) if isinstance(v, list | np.ndarray) else pl.lit(v).alias(n)
          for n, v in (told | changes).items()),
    )  # fmt: skip
    return frame.select(list(SERVED))


def _seen(value: Any) -> Any:
    """A number as the log has it: in 32 bits."""
    return float(np.float32(value)) if isinstance(value, float) else value


def bring(world: World, *answers: pl.DataFrame) -> None:
    name = world.product.asset("served")
    world.tools.lake.replace(name, pl.concat(answers), MARCH)


def psi(world: World) -> dict[str, float]:
    return dict(world.rows("served_drift", MARCH).select("column", "psi").iter_rows())


def test_callers_who_ask_of_other_rows_are_told_by_the_feature(copied: World) -> None:
    rows = copied.rows("features", MARCH)
    heavy = rows.filter(pl.col("weight") > 5)
    answers = [asked(copied, heavy)] * 10
    bring(copied, *answers)

    result = copied.run("served_drift", partition=MARCH)

    passed, words = finding(result, "asked_as_learned")
    assert not passed
    assert "weight (PSI " in str(words)
    assert psi(copied)["weight"] > 1 > 0.2 > psi(copied)["shop"]
    metadata = copied.metadata("served_drift", MARCH)
    assert metadata["answers"] == 10 * heavy.height >= FEWEST
    assert "weight" in metadata["drifted"]


def test_served_rows_drift_as_batch_predictions_of_them_do(copied: World) -> None:
    bring(copied, asked(copied, copied.rows("features", MARCH)))

    copied.run("served_drift", partition=MARCH)

    batch = dict(copied.rows("drift", MARCH).select("column", "psi").iter_rows())
    assert psi(copied) == pytest.approx(batch, abs=1e-9)
    assert set(batch) == {"shop", "weight", "area", "load", "prediction"}


def test_what_a_candidate_or_a_shadow_answered_does_not_count(copied: World) -> None:
    rows = copied.rows("features", MARCH)
    heavy = rows.filter(pl.col("weight") > 5)
    usual, other = asked(copied, rows), asked(copied, heavy, bundle="late_orders:other")
    bring(copied, usual)
    copied.run("served_drift", partition=MARCH)
    alone = psi(copied)

    bring(copied, usual, asked(copied, heavy, role="candidate"),
          asked(copied, heavy, role="shadow"), other)  # fmt: skip
    copied.run("served_drift", partition=MARCH)

    assert psi(copied) == alone
    assert copied.metadata("served_drift", MARCH)["answers_of_other_bundles"] == other.height


@pytest.mark.filterwarnings("error:Comparisons with None")
def test_few_answers_none_and_those_of_a_bundle_that_is_gone_say_so(copied: World) -> None:
    rows = copied.rows("features", MARCH)

    bring(copied, asked(copied, rows.filter(pl.col("weight") > 5)))
    few = copied.run("served_drift", partition=MARCH)
    of_few = psi(copied)
    bring(copied, asked(copied, rows.head(0)))
    none = copied.run("served_drift", partition=MARCH)
    bring(copied, asked(copied, rows, bundle="late_orders:gone"))
    gone = copied.run("served_drift", partition=MARCH)

    passed, said = finding(few, "asked_as_learned")
    assert passed and str(said).startswith("Not judged: ")
    assert str(said).endswith(f" answers, and it takes {FEWEST} to tell.")
    assert of_few["weight"] > 1
    assert finding(none, "asked_as_learned") == (True, "Nothing was asked of a server.")
    passed, said = finding(gone, "asked_as_learned")
    assert not passed
    assert str(said).startswith("What late_orders:gone learned from is not known any more.")
    assert copied.rows("served_drift", MARCH).is_empty()


def test_numbers_are_read_back_as_the_decimals_that_they_were() -> None:
    encoding = Encoding((EncodedColumn("temp", "numeric"), EncodedColumn("shop", "categorical")))
    given = [39.02, 0.1, 1400.0, None]
    texts = [json.dumps({"temp": None if t is None else float(np.float32(t)), "shop": "a"})
             for t in given]  # fmt: skip

    found = features_of(pl.DataFrame({"features": texts, "prediction": [0.5] * 4}), encoding)

    assert found["temp"].to_list() == given
    assert found["shop"].to_list() == ["a"] * 4
    assert found.columns == ["temp", "shop", "prediction"]
