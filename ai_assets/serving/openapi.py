"""The page that people read before they call: the product's own fields, units and examples."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ai_assets.lifecycle.schema.decision import Decision
    from ai_assets.serving.app import Server
    from ai_assets.serving.record.feedback import FeedbackReader
    from ai_assets.serving.request import RequestReader
    from ai_assets.serving.traffic.slots import Slot

PAGES = ("/openapi.json", "/docs.json", "/docs", "/docs/oauth2-redirect", "/redoc")


def operation(reader: "RequestReader") -> dict[str, Any]:
    """What OpenAPI says of a route that takes rows.

    Written out in place: BentoML's own page takes over paths and leaves shared schemas behind.
    """
    example, row = reader.example(), reader.model.model_json_schema()
    body = {
        "schema": {
            "oneOf": [
                row,
                {"type": "array", "items": row, "minItems": 1},
                {
                    "type": "object",
                    "properties": {"rows": {"type": "array", "items": row, "minItems": 1}},
                    "required": ["rows"],
                    "additionalProperties": False,
                },
            ]
        },
        "examples": {
            "one row": {"value": example},
            "several rows": {"value": {"rows": [example, example]}},
        },
    }
    return _described(body, {"400": "A row cannot be scored; says which and why"})


def feedback_operation(reader: "FeedbackReader") -> dict[str, Any]:
    """What OpenAPI says of the route that takes outcomes."""
    one = reader.json_schema()
    body = {
        "schema": {"oneOf": [*one["oneOf"], {"type": "array", "items": one, "minItems": 1}]},
        "examples": {"by id": {"value": reader.example()}},
    }
    missing = "There is no such prediction, or this server keeps no record"
    return _described(body, {"400": "An outcome is wrong; says which and why", "404": missing})


def _described(body: dict[str, Any], refusals: dict[str, str]) -> dict[str, Any]:
    problem = {"content": {"application/json": {"schema": _problem()}}}
    said = refusals | {
        "413": "Too many rows or bytes",
        "503": "Busy, not ready or not recorded; says when to try again",
    }
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {status: {"description": words, **problem} for status, words in said.items()},
    }


class Pages:
    """The pages of FastAPI, made when somebody first asks for one.

    BentoML's own page reads `/docs.json`, and finds what `/openapi.json` says.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI app."""
        app = await asyncio.to_thread(self._made, self._server.slot)
        await app(scope, receive, send)

    def _made(self, slot: "Slot") -> "FastAPI":
        return slot.once("pages", lambda: documentation(self._server, slot))


def documentation(server: "Server", slot: "Slot") -> "FastAPI":
    """An app that says what the server's routes take and answer. Its routes are only described."""
    from fastapi import FastAPI

    bundle, reader = slot.bundle, slot.reader
    app = FastAPI(
        title=bundle.product,
        description=bundle.description,
        version=bundle.tag.partition(":")[2],
    )
    for name, answer in server.answers.items():
        app.add_api_route(
            f"/{name}",
            answer,
            methods=["POST"],
            summary=getattr(server, name).__doc__,
            operation_id=name,
            openapi_extra=(
                feedback_operation(slot.feedback) if name == "feedback" else operation(reader)
            ),
        )
    for name, show in server.shown.items():
        app.add_api_route(f"/{name}", show, methods=["GET"], summary=show.__doc__)
    content = app.openapi()
    content.setdefault("components", {}).setdefault("schemas", {}).update(
        Row=reader.model.model_json_schema(), Answers=_answers(bundle.decision)
    )
    content["paths"]["/predict"]["post"]["responses"]["200"]["content"] = {
        "application/json": {"schema": {"$ref": "#/components/schemas/Answers"}}
    }
    app.openapi = lambda: content  # type: ignore[method-assign]
    app.add_api_route("/docs.json", lambda: content, methods=["GET"], include_in_schema=False)
    return app


def _answers(decision: "Decision") -> dict[str, Any]:
    label: dict[str, Any] = {"type": "string", "enum": list(decision.classes)}
    words = f"Probability of '{decision.positive}'"
    if decision.task == "regression":
        label, words = {"type": "number"}, "The predicted value"
    prediction = {
        "type": "object",
        "properties": {
            "prediction_id": {"type": "string", "format": "uuid"},
            "probability": {"type": "number", "description": words},
            "label": label,
            "threshold": {"type": "number"},
        },
    }
    table = {"version": {"type": "string"}, "age_seconds": {"type": "number"}}
    return {
        "type": "object",
        "properties": {
            "bundle": {"type": "string", "description": "Tag of the bundle that answered"},
            "model": {"type": ["string", "null"], "description": "Partition of the model"},
            "online": {
                "type": "object",
                "description": "Version and age of each time-varying table",
                "additionalProperties": {"type": "object", "properties": table},
            },
            "predictions": {"type": "array", "items": prediction},
        },
    }


def _problem() -> dict[str, Any]:
    detail = {
        "type": "object",
        "properties": {
            "row": {"type": ["integer", "null"], "description": "Number of the row, from 0"},
            "field": {"type": ["string", "null"]},
            "given": {},
            "allowed": {},
            "message": {"type": "string"},
        },
    }
    return {
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "details": {"type": "array", "items": detail},
        },
    }
