"""`make run`: the flagship product from raw data to a served answer and a drift report."""

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from ai_assets.automation.materialize import Step, Written, materialize
from ai_assets.automation.serve import post, served
from ai_assets.lifecycle.naming import AssetName
from ai_assets.lifecycle.schema.tables import Table
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.serving.leaving import leave
from ai_assets.serving.place import state_root

PRODUCT = "flight_delay"
AS_OF, WATCHED = "2013-03-01", "2013-04-01"
DATA = ("raw", "cleaned", "rejected", "labels", "features")
MODEL = (
    "training_set", "tuning", "model", "language_model", "compressed_model", "evaluation",
    "model_card",
)  # fmt: skip
WATCH = ("predictions", "drift", "drift_report", "performance", "verdict")
RELEASE = ("bundle", "gate", "release")
STEPS = (
    Step("January to March: raw data to features", PRODUCT, DATA, "2013-01-01", AS_OF),
    Step("as of March: tune, learn, compress, judge", PRODUCT, MODEL, AS_OF, AS_OF),
    Step("as of March: build, sign, pass the gate, release", PRODUCT, RELEASE, AS_OF, AS_OF),
    Step("April: raw data to features", PRODUCT, DATA, WATCHED, WATCHED),
    Step("the latest rows, for the server to read", PRODUCT, ("online",), WATCHED, WATCHED),
    Step(
        "April: predictions, drift, performance and the verdict", PRODUCT, WATCH, WATCHED, WATCHED
    ),
)


def main() -> int:
    """Materialize every step, then serve the released bundle and ask it one question."""
    if not os.environ.get("DAGSTER_HOME"):
        print("DAGSTER_HOME is not set. Run `make run`, which sets it.", file=sys.stderr)
        return 2
    from ai_assets.definitions import defs

    started = time.monotonic()
    definitions = defs()
    with dg.DagsterInstance.get() as instance:
        if not take(STEPS, definitions, instance):
            return 1
    ask_one_question()
    say_where_things_are()
    print(f"\nDone in {time.monotonic() - started:.0f} s.")
    return 0


def take(
    steps: Sequence[Step],
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    written: Written | None = None,
) -> bool:
    """Materialize step after step, and say which; False where one fails, which is the last."""
    for number, step in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {step.words}", flush=True)
        if not materialize(definitions, instance, step, written):
            print("This step failed. `make dev` shows why, in the run's log.", file=sys.stderr)
            return False
    return True


def ask_one_question() -> None:
    """Serve what is in production, ask about one flight of April, compare with what happened."""
    lake, store = Lake(), BundleStore()
    released = ReleaseLedger(lake=lake).history(PRODUCT).row(-1, named=True)["stable"]
    flight = a_flight_of_april(lake)
    question = request_of(flight, store.load(released).request.table)
    print(f"\nServing {released} on loopback", flush=True)
    with served(released, store.root, lake.root, state_root() / "serve.log") as address:
        answer = post(f"{address}/predict", question)["predictions"][0]
        why = post(f"{address}/explain", question)["explanations"][0]
    say_answer(flight, question, answer, why)


def a_flight_of_april(lake: Lake) -> dict[str, Any]:
    """A real flight of the last evening of April, with its outcome and its batch prediction.

    The last evening, because the server knows the newest rows of the lake and none of the weeks
    before; which flight it is does not depend on its outcome.
    """
    flights = lake.scan(AssetName(PRODUCT, "cleaned/flights"), [WATCHED])
    outcomes = lake.scan(AssetName(PRODUCT, "labels"), [WATCHED]).select("_row_id", "label")
    scores = lake.scan(AssetName(PRODUCT, "predictions"), [WATCHED])
    known = flights.join(outcomes, on="_row_id").join(
        scores.select("_row_id", "probability"), on="_row_id"
    )
    landed = known.filter(pl.col("label").is_not_null() & pl.col("tailnum").is_not_null())
    evening = landed.sort("time_hour", "carrier", "flight", descending=True).head(100).collect()
    return evening.row(50, named=True)


def request_of(flight: dict[str, Any], table: Table) -> dict[str, Any]:
    """What a caller knows of a flight two hours ahead: the fields of a request, nothing late."""
    row = {name: flight[name] for name in table.columns}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in row.items()}


def say_answer(
    flight: dict[str, Any], question: dict[str, Any], answer: dict[str, Any], why: dict[str, Any]
) -> None:
    """Print the question, the answer with its main reasons, and what happened."""
    strongest = why["contributions"][:4]
    reasons = ", ".join(f"{c['feature']} {c['contribution']:+.2f}" for c in strongest)
    print(f"  asked:    {json.dumps(question)}")
    print(f"  answer:   {answer['label']}, probability {answer['probability']:.4f}")
    print(f"  offline:  the batch of April gave the same flight {flight['probability']:.4f}")
    print(f"  because:  {reasons} ({why['space']})")
    print(f"  outcome:  it arrived {abs(flight['arr_delay'])} minutes "
          f"{'late' if flight['arr_delay'] >= 0 else 'early'}")  # fmt: skip


def say_where_things_are() -> None:
    """Print the pages that a person would open next."""
    lake = Lake()
    report = lake.artifact(AssetName(PRODUCT, "drift_report"), WATCHED) / "report.html"
    card = lake.artifact(AssetName(PRODUCT, "model_card"), AS_OF) / "model_card.md"
    print(f"\nDrift report of April  {report}")
    print(f"Model card             {card}")
    print("The graph              make dev, then http://127.0.0.1:3000")


if __name__ == "__main__":
    leave(main())
