"""The story of one prediction as text for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from ai_assets.automation.why.words import cell, facts, since, table

_MOST_IDS = 5
# Of several classes so many are told beside the answer.
_NEXT = 3


def prediction_text(story: Mapping[str, Any]) -> str:
    """What `why_prediction` found, a paragraph a link."""
    parts = [*_answer(story), *_features(story), *_request(story["request"])]
    for origin in story["stands_on"]:
        parts += _origin(origin)
    return "\n".join([*parts, story["note"]]) + "\n"


def served_text(story: Mapping[str, Any]) -> str:
    """What `why_served` found, a paragraph a link."""
    asked, answer, release = story["request"], story["answer"], story["release"]
    lines = [f"Served prediction {story['prediction_id']} of {story['product']}"]
    lines += facts(
        {
            "asked": f"{asked['at']}, {asked['route']}, {asked['rows']} rows in the request",
            "by": asked["who"] or "nobody in particular: the server asked for no key",
            "answer": _answered(answer),
            "took": f"{asked['latency_ms']:.3g} ms",
            "bundle": f"{answer['bundle']}, as {answer['role']}",
            "released": _released(release) if release else "not in the ledger",
            "tried as": _tried(release) if release else "",
            "scored again": _again(story),
            "tables read": [f"{name} {version}" for name, version in asked["online"].items()],
            "outcome": [f"{one['outcome']} (told {one['told_at']})" for one in story["outcomes"]],
        }
    )
    lines += ["", "Request row, as it was asked"]
    lines += [f"    {_row(asked['row']) or 'ready vectors'}", ""]
    if story["explanation"] is None:
        return "\n".join([*lines, str(story["problem"])]) + "\n"
    return "\n".join([*lines, *_contributions(story["explanation"])]) + "\n"


def _answered(answer: Mapping[str, Any]) -> str:
    if "value" in answer:
        return _valued(answer)
    said = f"{answer['label']}, probability {answer['probability']:.4f}"
    each = answer["probabilities"]
    if each is None:
        return f"{said} (positive from {answer['threshold']:.4f} on)"
    others = sorted(set(each) - {answer["label"]}, key=lambda name: -each[name])[:_NEXT]
    return f"{said} ({', '.join(f'{name} {each[name]:.4f}' for name in others)})"


def _valued(answer: Mapping[str, Any]) -> str:
    """A value with its unit, and its interval where it has one."""
    unit = f" {answer['unit']}" if answer["unit"] else ""
    said = f"{answer['value']:.6g}{unit}"
    if "interval" not in answer:
        return said
    low, high = answer["interval"]
    return f"{said}, {answer['coverage']:.0%} of outcomes from {low:.6g} to {high:.6g}{unit}"


def _again(story: Mapping[str, Any]) -> str:
    again, said = story["scored_again"], story["answer"]["probability"]
    if again is None:
        return ""
    # A model computes with seven digits; probabilities are at most 1.
    agrees = abs(again - said) < 1e-6 * max(1.0, abs(said))
    return "the same" if agrees else f"{again:.6g}: NOT the same"


def _tried(release: Mapping[str, Any]) -> str:
    if release["candidate"] is None:
        return ""
    return f"{release['candidate']}, {release['mode'] or 'ab'}, {release['split']:.0%} of traffic"


def _answer(story: Mapping[str, Any]) -> Iterator[str]:
    answer, release = story["answer"], story["release"]
    yield f"Prediction of row {story['row_id']} of {story['product']}"
    yield from facts(
        {
            "partition": story["partition"],
            "answer": _valued(answer)
            if "value" in answer
            else f"{answer['predicted']}, probability {answer['probability']:.4f}",
            "scored again": _again(story),
            "bundle": answer["bundle"],
            "release": answer["release_id"],
            "released": _released(release) if release else "not in the ledger",
            "recorded": _version(story["written"], "predictions"),
        }
    )
    yield ""


def _features(story: Mapping[str, Any]) -> Iterator[str]:
    yield from _contributions(story["explanation"])
    if story["not_reproduced"]:
        yield f"    Not reproduced from the rows below: {', '.join(story['not_reproduced'])}."
    yield ""


def _contributions(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"Features, the strongest contribution first ({told['space']}, {told['method']})"
    rows = [
        {
            "feature": part["feature"],
            "value": part["value"],
            "contribution": f"{part['contribution']:+.3f}",
            "importance": part["importance"],
            "made of": ", ".join(part["made_of"]),
        }
        for part in told["contributions"]
    ]
    yield from table(rows, ["feature", "value", "contribution", "importance", "made of"])
    for part in told["contributions"]:
        yield from _within(part)
    yield f"    base {told['base']:+.3f}, together {told['output']:+.3f}"


def _within(part: Mapping[str, Any]) -> Iterator[str]:
    """What the model looked at within a picture or a text."""
    if "map" in part:
        yield f"    {part['feature']}, a contribution a patch"
        for row in part["map"]:
            yield "      " + " ".join(
                f"{share:+6.2f}" if round(share, 2) else "     ." for share in row
            )
    if part.get("words"):
        said = (f"{one['word']} {one['contribution']:+.2f}" for one in part["words"])
        yield f"    {part['feature']}, word by word: {' | '.join(said)}"


def _request(request: Mapping[str, Any]) -> Iterator[str]:
    yield f"Request row, in {_version(request['cleaned'])}"
    for row in request["cleaned"]["rows"]:
        yield f"    {_row(row)}"
    yield f"  as its source gave it, in {_version(request['raw'])}"
    for row in request["raw"]["rows"]:
        yield f"    {_row(row)}"
    yield ""


def _origin(origin: Mapping[str, Any]) -> Iterator[str]:
    rows = len(origin["cleaned"]["rows"])
    if not rows:
        yield from (f"{origin['table']}: no row of it changes any feature.", "")
        return
    spread = f" from {origin['first']} to {origin['last']}" if origin["first"] else ""
    yield f"{origin['table']}: {rows} rows{spread}, in {_version(origin['cleaned'])}"
    yield f"  as their source gave them: {_version(origin['raw'])}"
    for kind in origin["sets"]:
        which = " and ".join(f"{name} = {cell(value)}" for name, value in kind["like"].items())
        ids = kind["row_ids"]
        more = f" and {len(ids) - _MOST_IDS} more (--json)" if len(ids) > _MOST_IDS else ""
        yield f"  {len(ids)} rows with {which or 'any values'} make {', '.join(kind['features'])}"
        yield f"    {', '.join(map(str, ids[-_MOST_IDS:]))}{more}"
    yield ""


def _version(told: Mapping[str, Any], asset: str | None = None) -> str:
    words = f"{asset or told['asset']}, version {told['version']} of {told['written']}"
    if told["written_anew_in"] is None:
        return words
    return f"{words} (written anew since, in version {told['written_anew_in']})"


def _released(release: Mapping[str, Any]) -> str:
    effect = since(release)
    when = f"from {effect} on" if effect else f"recorded {release['recorded_at']}"
    return f"{when}, by {release['who']}: {release['why']}"


def _row(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {cell(value)}" for name, value in row.items())
