"""The page that people read before they call: the product's own fields, units and examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.serving.request import RequestReader


def operation(reader: RequestReader) -> dict[str, Any]:
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
    problem = {"content": {"application/json": {"schema": _problem()}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "400": {"description": "A row cannot be scored; says which and why", **problem},
            "413": {"description": "Too many rows or bytes", **problem},
            "503": {"description": "Busy or not ready; says when to try again", **problem},
        },
    }


def documented(app: FastAPI, reader: RequestReader, decision: Decision) -> None:
    """Make the app's OpenAPI page name the request and the answers."""

    def page() -> dict[str, Any]:
        if app.openapi_schema is None:
            content = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schemas = content.setdefault("components", {}).setdefault("schemas", {})
            schemas |= {
                "Row": reader.model.model_json_schema(),
                "Answers": _answers(decision),
            }
            answers = {"schema": {"$ref": "#/components/schemas/Answers"}}
            content["paths"]["/predict"]["post"]["responses"]["200"]["content"] = {
                "application/json": answers
            }
            app.openapi_schema = content
        return app.openapi_schema

    app.openapi = page  # type: ignore[method-assign]


def _answers(decision: Decision) -> dict[str, Any]:
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
