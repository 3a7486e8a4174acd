"""What OpenAPI says of answers: of rows, of explanations, of refusals."""

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ai_assets.lifecycle.features.encoding import Encoding
    from ai_assets.lifecycle.schema.decision import Decision

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
_SHARED = {
    "bundle": {**_TEXT, "description": "Tag of the bundle that answered"},
    "model": {"type": ["string", "null"], "description": "Partition of the model"},
}
MAP = "Contributions of the patches of an image, row by row from its top left corner"
WORDS = "Contributions of the words of a text, in their order"
# What each page is, by its name.
SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "healthz": ("text/plain", _TEXT),
    "livez": ("text/plain", _TEXT),
    "readyz": ("text/plain", _TEXT),
    "metrics": ("text/plain", _TEXT),
    "model_card": ("text/markdown", _TEXT),
    "release": ("application/json", {"type": "object"}),
    "schema": ("application/json", {"type": "object"}),
}
ACCESS = {
    "401": "A key is needed, or this one is not valid",
    "403": "The key has not the scope that this needs",
    "429": "The key has asked as often as it may; says when to try again",
}


def given(kind: str, schema: dict[str, Any], words: str = "The answer") -> dict[str, Any]:
    """The answer of status 200."""
    return {"200": {"description": words, "content": {kind: {"schema": schema}}}}


def refusals(said: dict[str, str]) -> dict[str, Any]:
    """Answers of other statuses, each with its words."""
    content = {"content": {"application/json": {"schema": problem()}}}
    return {status: {"description": words, **content} for status, words in said.items()}


def answers(decision: "Decision") -> dict[str, Any]:
    """What `/predict` answers."""
    label: dict[str, Any] = {**_TEXT, "enum": list(decision.classes)}
    words, last = probability_words(decision), {"threshold": _NUMBER}
    if decision.task == "regression":
        label, last = _NUMBER, _interval(decision)
    elif decision.task == "multiclass":
        last = {"probabilities": _of_classes(decision.classes)}
    prediction = _object(
        {
            "prediction_id": {**_TEXT, "format": "uuid"},
            "probability": {**_NUMBER, "description": words},
            "label": label,
            **last,
        }
    )
    online = {
        "type": "object",
        "description": "Version and age of each time-varying table",
        "additionalProperties": _object({"version": _TEXT, "age_seconds": _NUMBER}),
    }
    return _object({**_SHARED, "online": online, "predictions": _list(prediction)})


def _interval(decision: "Decision") -> dict[str, Any]:
    """Lower and upper end beside the value, where the bundle has them."""
    if decision.interval is None:
        return {}
    words = f"Lower and upper end: {decision.interval}"
    return {"interval": {**_list(_NUMBER), "minItems": 2, "maxItems": 2, "description": words}}


def probability_words(decision: "Decision") -> str:
    """What `probability` is, in words."""
    if decision.task == "regression":
        return "The predicted value"
    if decision.task == "multiclass":
        return "Probability of the answer"
    return f"Probability of '{decision.positive}'"


def _of_classes(classes: Sequence[str]) -> dict[str, Any]:
    """The probability of each class, by its name; the example is certain of the first."""
    each = {**_NUMBER, "minimum": 0, "maximum": 1}
    return {
        **_object(dict.fromkeys(classes, each)),
        "additionalProperties": False,
        "description": "Probability of each answer that there is; together 1",
        "examples": [{name: float(not at) for at, name in enumerate(classes)}],
    }


def explanations(decision: "Decision", encoding: "Encoding") -> dict[str, Any]:
    """What `/explain` answers."""
    share = _object({"feature": _TEXT, "value": {}, "contribution": _NUMBER})
    # Of an image or a text, beside others that have neither.
    share["properties"] |= _within({column.kind for column in encoding.items})
    one = {"method": _TEXT, "space": _TEXT, "output": _NUMBER, "base": _NUMBER}
    if decision.task == "multiclass":
        words = "The answer that is explained"
        one = {"label": {**_TEXT, "enum": list(decision.classes), "description": words}, **one}
    return _object(
        {**_SHARED, "explanations": _list(_object({**one, "contributions": _list(share)}))}
    )


def _within(kinds: Set[str]) -> dict[str, Any]:
    word = _object({"word": _TEXT, "contribution": _NUMBER})
    found = {
        "image": {"map": {**_list(_list(_NUMBER)), "description": MAP}},
        "text": {"words": {**_list(word), "description": WORDS}},
    }
    return {name: schema for kind in found if kind in kinds for name, schema in found[kind].items()}


def kept() -> dict[str, Any]:
    """What `/feedback` answers."""
    return _object({"recorded": {"type": "integer", "description": "How many outcomes"}})


def graphql() -> dict[str, Any]:
    """What `/graphql` answers."""
    return {
        "type": "object",
        "properties": {
            "data": {"type": ["object", "null"]},
            "errors": _list({"type": "object", "properties": {"message": _TEXT}}),
        },
    }


def problem() -> dict[str, Any]:
    """What a refusal is."""
    detail = {
        "row": {"type": ["integer", "null"], "description": "Number of the row, from 0"},
        "field": {"type": ["string", "null"]},
        "given": {},
        "allowed": {},
        "message": _TEXT,
    }
    return _object({"error": _TEXT, "details": _list(_object(detail))})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
