"""`python -m ai_assets.why`: why a bundle is in production, why a decision, why an answer."""

import argparse
import json
import sys

from ai_assets.automation.why import (
    Records,
    why_decision,
    why_prediction,
    why_release,
    why_served,
)
from ai_assets.automation.why.words import chain_text
from ai_assets.automation.why.words_of_prediction import prediction_text, served_text
from ai_assets.lifecycle.errors import UserError
from ai_assets.serving.record.ids import split_id


def main(arguments: list[str] | None = None) -> int:
    """Print the chain of evidence; 2 where there is none for what was asked."""
    asked = parser().parse_args(arguments)
    try:
        print(answer(asked), end="")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m ai_assets.why", description=__doc__)
    kinds = top.add_subparsers(dest="kind", required=True)
    release = kinds.add_parser("release", help="why a bundle is, or was, in production")
    release.add_argument("product")
    release.add_argument(
        "--at",
        metavar="MOMENT|ID",
        help="a moment of event time, such as 2013-04-01, or the id of a release or of its "
        "decision; default: the newest release",
    )
    decision = kinds.add_parser("decision", help="why a partition led to retraining, or did not")
    decision.add_argument("product")
    decision.add_argument("which", metavar="ID|PARTITION")
    prediction = kinds.add_parser("prediction", help="why a row got its answer")
    prediction.add_argument("product")
    prediction.add_argument(
        "row_id",
        metavar="ROW|ID",
        help="_row_id in the table of predictions, or the id that a server gave with an answer",
    )
    prediction.add_argument("--partition", help="where to look for it; default: everywhere")
    for kind in kinds.choices.values():
        kind.add_argument("--json", action="store_true", help="for programs, with all there is")
    return top


def answer(asked: argparse.Namespace) -> str:
    """What is printed."""
    records = Records.of(asked.product)
    served = asked.kind == "prediction" and split_id(asked.row_id) is not None
    if served:
        told = why_served(records, asked.row_id)
    elif asked.kind == "prediction":
        told = why_prediction(records, asked.row_id, asked.partition)
    elif asked.kind == "release":
        told = why_release(records, asked.at)
    else:
        told = why_decision(records, asked.which)
    if asked.json:
        return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    if served:
        return served_text(told)
    return prediction_text(told) if asked.kind == "prediction" else chain_text(told)


if __name__ == "__main__":
    sys.exit(main())
