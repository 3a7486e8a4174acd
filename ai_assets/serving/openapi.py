"""The page that people read before they call: the product's own fields, units and examples."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from ai_assets.serving.access.rules import OPEN
from ai_assets.serving.openapi_answers import (
    ACCESS,
    SHOWN,
    answers,
    explanations,
    given,
    graphql,
    kept,
    problem,
    refusals,
)
from ai_assets.serving.uploads import described_bodies

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ai_assets.serving.app import Server
    from ai_assets.serving.record.feedback import FeedbackReader
    from ai_assets.serving.request import RequestReader
    from ai_assets.serving.traffic.slots import Slot

PAGES = ("/openapi.json", "/docs.json", "/docs", "/docs/oauth2-redirect", "/redoc")


def operation(reader: "RequestReader", answer: dict[str, Any], most: int) -> dict[str, Any]:
    """What OpenAPI says of a route that takes at most so many rows and gives such an answer.

    Written out in place: BentoML's own page takes over paths and leaves shared schemas behind.
    """
    example, row = reader.example(), reader.model.model_json_schema()
    rows = _list(row, most)
    body = {
        "schema": {
            "oneOf": [
                row,
                rows,
                {
                    "type": "object",
                    "properties": {"rows": rows},
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
    said = {
        "400": "A row cannot be scored; says which and why",
        "415": "A file of this type cannot be the whole request",
    }
    found = _described(body, said, given("application/json", answer))
    found["requestBody"]["content"] |= described_bodies(reader.table)
    return found


def feedback_operation(reader: "FeedbackReader", most: int) -> dict[str, Any]:
    """What OpenAPI says of the route that takes at most so many outcomes."""
    one = reader.json_schema()
    body = {
        "schema": {"oneOf": [*one["oneOf"], _list(one, most)]},
        "examples": {"by id": {"value": reader.example()}},
    }
    missing = "There is no such prediction, or this server keeps no record"
    said = {
        "400": "An outcome is wrong; says which and why",
        "404": missing,
        "409": "An outcome is said to become known after the server's clock; says which",
    }
    return _described(body, said, given("application/json", kept()))


def graphql_operation() -> dict[str, Any]:
    """What OpenAPI says of GraphQL; its own schema says the rest."""
    members = {
        "query": {"type": "string"},
        "variables": {"type": ["object", "null"]},
        "operationName": {"type": ["string", "null"]},
    }
    body = {
        "schema": {"type": "object", "properties": members, "required": ["query"]},
        "examples": {"what answers": {"value": {"query": "{ model { bundle } }"}}},
    }
    said = {"400": "This is no GraphQL request", "415": "It is not JSON", "501": "It is not served"}
    found = _described(body, said, given("application/json", graphql()))
    # Access refuses in REST's form, GraphQL in its own.
    either = {"application/json": {"schema": {"anyOf": [graphql(), problem()]}}}
    for status, told in found["responses"].items():
        if status != "200":
            told["content"] = either
    return found


def stream_operation(reader: "RequestReader") -> dict[str, Any]:
    """What OpenAPI says of the stream, as far as it can: the rows are lines, the answers events."""
    text = {"schema": {"type": "string", "description": "A row a line, as JSON"}}
    words = "An event a row, in order: `answer` or `refused`; at last `end`"
    return {
        "requestBody": {"required": True, "content": {"application/x-ndjson": text}},
        "responses": given("text/event-stream", {"type": "string"}, words)
        | refusals(ACCESS | {"415": "It is not NDJSON", "503": "Too many streams are open"}),
    }


def _list(of: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1, "maxItems": most}


def _described(
    body: dict[str, Any], said: dict[str, str], answer: dict[str, Any]
) -> dict[str, Any]:
    words = (
        said
        | ACCESS
        | {
            "408": "The whole body did not come in time",
            "413": "Too many rows or bytes",
            "503": "Busy, not ready or not recorded; says when to try again",
        }
    )
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": answer | refusals(words),
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

    bundle, reader, limits = slot.bundle, slot.reader, server.settings
    app = FastAPI(
        title=bundle.product,
        description=bundle.description,
        version=bundle.tag.partition(":")[2],
    )
    described = {
        "predict": operation(reader, answers(bundle.decision), limits.max_rows),
        "explain": operation(
            reader, explanations(bundle.decision, bundle.encoding), limits.explain_rows
        ),
        "feedback": feedback_operation(slot.feedback, limits.max_rows),
        "graphql": graphql_operation(),
        "stream": stream_operation(reader),
    }
    words = {
        "graphql": "Answer one GraphQL query or mutation.",
        "stream": "Score rows while they come, one a line.",
    }
    for name, extra in described.items():
        app.add_api_route(
            f"/{name}",
            server.answers.get(name, _elsewhere),
            methods=["POST"],
            summary=words.get(name) or getattr(server, name).__doc__,
            operation_id=name,
            openapi_extra=extra,
        )
    for name, show in server.shown.items():
        needs = refusals(ACCESS | {"503": "Not now"}) if f"/{name}" not in OPEN else {}
        if name == "readyz":
            needs = refusals({"503": "Not ready; says why"})
        app.add_api_route(
            f"/{name}",
            show,
            methods=["GET"],
            summary=show.__doc__,
            openapi_extra={"responses": given(*SHOWN[name]) | needs},
        )
    content = app.openapi()
    content.setdefault("components", {}).setdefault("schemas", {}).update(
        Row=reader.model.model_json_schema(), Answers=answers(bundle.decision)
    )
    _secure(content, server.gate.mode)
    _only_what_is_answered(content)
    app.openapi = lambda: content  # type: ignore[method-assign]
    app.add_api_route("/docs.json", lambda: content, methods=["GET"], include_in_schema=False)
    return app


async def _elsewhere() -> None:
    """Stands for a route that is only described here."""


def _secure(content: dict[str, Any], mode: str) -> None:
    """Say how a key is sent, where one is asked for."""
    if mode != "keys":
        return
    content["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in content["paths"].items():
        for told in operations.values():
            told["security"] = [] if path in OPEN else [{"bearer": []}, {"key": []}]


def _only_what_is_answered(content: dict[str, Any]) -> None:
    """Take out what FastAPI adds: JSON where a page is a text."""
    for path, operations in content["paths"].items():
        kind, _ = SHOWN.get(path[1:], ("", {}))
        for told in operations.values():
            answer = told["responses"]["200"]
            kinds = answer.get("content", {})
            if kind not in ("", "application/json") or path == "/stream":
                kinds.pop("application/json", None)
