"""`make run`: the flagship product from raw data to a served answer and a drift report."""

import sys
import time
from typing import Any

import dagster as dg
import polars as pl

from ai_assets.automation.materialize import Step, materialize
from ai_assets.automation.serve import post, served
from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.lake import Lake
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.state import state_root

PRODUCT = "flight_delay"
AS_OF, WATCHED = "2013-03-01", "2013-04-01"
DATA = ("raw", "cleaned", "rejected", "labels", "features")
MODEL = ("training_set", "tuning", "model", "compressed_model", "evaluation", "model_card")
RELEASE = ("bundle", "gate", "release")
STEPS = (
    Step("January to March: raw data to features", PRODUCT, DATA, "2013-01-01", AS_OF),
    Step("as of March: tune, learn, compress, judge", PRODUCT, MODEL, AS_OF, AS_OF),
    Step("as of March: build, sign, pass the gate, release", PRODUCT, RELEASE, AS_OF, AS_OF),
    Step("April: raw data to features", PRODUCT, DATA, WATCHED, WATCHED),
    Step("the latest rows, for the server to read", PRODUCT, ("online",), WATCHED, WATCHED),
    Step("April: predictions, drift", PRODUCT, ("predictions", "drift", "drift_report"), WATCHED, WATCHED),
)  # fmt: skip


def main() -> int:
    """Materialize every step, then serve the released bundle and ask it one question."""
    from ai_assets.definitions import defs

    started = time.monotonic()
    definitions = defs()
    with dg.DagsterInstance.get() as instance:
        for number, step in enumerate(STEPS, start=1):
            print(f"[{number}/{len(STEPS)}] {step.words}", flush=True)
            if not materialize(definitions, instance, step):
                print("This step failed. `make dev` shows why, in the run's log.", file=sys.stderr)
                return 1
    ask_one_question()
    say_where_things_are()
    print(f"\nDone in {time.monotonic() - started:.0f} s.")
    return 0


def ask_one_question() -> None:
    """Serve what is in production, ask about one flight of April, compare with what happened."""
    lake, store = Lake(), BundleStore()
    entry = ReleaseLedger(lake=lake).history(PRODUCT).row(-1, named=True)
    flight = a_flight_of_april(lake)
    log = state_root() / "serve.log"
    print(f"\nServing {entry['stable']} on loopback …", flush=True)
    with served(entry["stable"], store.home(), lake.location(), log) as address:
        question = request_of(flight)
        answer = post(f"{address}/predict", question)["predictions"][0]
        reasons = post(f"{address}/explain", question)
    say_answer(flight, question, answer, reasons)


def a_flight_of_april(lake: Lake) -> dict[str, Any]:
    """A real flight of the last evening of April, with its outcome and its batch prediction."""
    flights = lake.scan(_name("cleaned/flights"), [WATCHED])
    outcome = lake.scan(_name("labels"), [WATCHED]).select("_row_id", "label")
    batch = lake.scan(_name("predictions"), [WATCHED]).select("_row_id", "probability")
    known = flights.join(outcome, on="_row_id").join(batch, on="_row_id")
    known = known.filter(pl.col("label").is_not_null() & pl.col("tailnum").is_not_null())
    return known.sort("time_hour", "carrier", "flight", descending=True).head(20).collect().row(7, named=True)  # fmt: skip


def request_of(flight: dict[str, Any]) -> dict[str, Any]:
    """What a caller knows of a flight two hours ahead: the request's own columns, nothing late."""
    from ai_assets.lifecycle.product import TabularDeclaration  # noqa: F401

    late = {"dep_delay", "air_time", "arr_delay", "label", "probability"}
    row = {k: v for k, v in flight.items() if k not in late and not k.startswith("_")}
    return {**row, "time_hour": flight["time_hour"].isoformat()}


def say_answer(
    flight: dict[str, Any], question: dict[str, Any], answer: dict[str, Any], reasons: Any
) -> None:
    """Print the question, the answer, its reasons and the outcome."""
    outcome = f"arrived {flight['arr_delay']} minutes after schedule"
    print(f"Asked:   {question}")
    print(f"Answer:  {answer['label']}, probability {answer['probability']:.3f} "
          f"(the same flight in the batch of April: {flight['probability']:.3f})")  # fmt: skip
    print(f"Reasons: {reasons}"[:400])
    print(f"Outcome: {'late' if flight['label'] else 'not late'}; it {outcome}")


def say_where_things_are() -> None:
    """Print the pages that a person would open next."""
    lake = Lake()
    report = lake.artifact(_name("drift_report"), WATCHED) / "report.html"
    card = lake.artifact(_name("model_card"), AS_OF) / "model_card.md"
    print(f"\nDrift report of April: {report}\nModel card:            {card}")
    print("The graph:             make dev, then http://127.0.0.1:3000")


def _name(asset: str) -> Any:
    from ai_assets.lifecycle.naming import AssetName

    return AssetName(PRODUCT, asset)


if __name__ == "__main__":
    sys.exit(main())
