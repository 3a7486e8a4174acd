"""What GraphQL's fields answer, all by the server's one scoring path. Imports graphql-core."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    ExecutionContext,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    execute,
)

from ai_assets.serving.problems import Refused, printable
from ai_assets.serving.protocols.graphql_documents import (
    Documents,
    Invalid,
    fields_asked,
    values_asked,
)
from ai_assets.serving.protocols.graphql_schema import SCOPES, build_schema, columns_shown
from ai_assets.serving.record.asked import Asked

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ai_assets.serving.app import Server
    from ai_assets.serving.observe.observer import Observer
    from ai_assets.serving.traffic.slots import Slot

MOST_CALLS = 8
# Rows x fields of one request; each costs some microseconds.
MOST_VALUES = 30_000
# A list of more rows is made in a thread.
_FEW = 20
_PLACE = re.compile(r" at '([^']*)'; $")


@dataclass
class _Call:
    """One request on its way through its fields."""

    key_id: str | None
    began: float
    rows: int = 0
    values: int = 0


class Answering:
    """Answers requests of GraphQL for one server, in the words of one of its bundles."""

    def __init__(self, server: "Server", slot: "Slot") -> None:
        self._server = server
        resolvers: dict[str, Callable[..., Any]] = {
            "predict": self._predict,
            "explain": self._explain,
            "feedback": self._feedback,
            "model": self._model,
            "schema": self._columns,
        }
        self._reader = slot.reader
        # How many objects a field within a row gives.
        self._lists = {
            "online": len(slot.bundle.online),
            "contributions": len(slot.bundle.encoding.columns),
            "words": max((c.width for c in slot.bundle.encoding.items), default=1),
            "probabilities": len(slot.bundle.decision.classes),
        }
        self._schema = build_schema(slot.bundle, slot.reader, slot.feedback, resolvers)
        self._documents = Documents(self._schema)

    async def answer(
        self,
        asked: Mapping[str, Any],
        allow: Callable[[str], Awaitable[None]],
        key_id: str | None,
        began: float,
    ) -> tuple[dict[str, Any], int]:
        """The answer as JSON shows it, and the status that it would have in REST.

        Args:
            asked: `query`, and maybe `variables` and `operationName`.
            allow: returns if the caller has a scope, else raises `Refused`.
            key_id: who asks.
            began: `time.perf_counter` when the request came.

        Raises:
            Refused: nothing of it can be answered.
        """
        try:
            document = await asyncio.to_thread(self._documents.read, asked["query"])
        except Invalid as invalid:
            return _told([_shown(error, self._server.observer) for error in invalid.errors])
        except GraphQLError as error:
            return _told([_shown(error, self._server.observer)])
        operation = asked.get("operationName")
        try:
            names = fields_asked(document, operation)
        except Refused as refused:
            extensions = {"status": refused.status}
            return _told([{"message": refused.content()["error"], "extensions": extensions}])
        await self._check(names, allow)
        variables = asked.get("variables") or {}
        self._check_lists(variables)
        result = await self._executed(document, operation, variables, _Call(key_id, began))
        errors = [_shown(error, self._server.observer) for error in result.errors or ()]
        if not errors:
            return {"data": result.data}, 200
        content, status = _told(errors)
        # Where no field was reached, the request itself was wrong.
        return (content if result.data is None else {**content, "data": result.data}), status

    async def _executed(
        self,
        document: DocumentNode,
        operation: str | None,
        variables: dict[str, Any],
        call: _Call,
    ) -> ExecutionResult:
        # Variables are made fit, and what waits for nothing is answered, here; rows are scored on
        # the event loop, in what this returns.
        found = await asyncio.to_thread(
            execute,
            self._schema,
            document,
            context_value=call,
            variable_values=variables,
            operation_name=operation,
            execution_context_class=_Execution,
        )
        return found if isinstance(found, ExecutionResult) else await found

    async def _check(self, names: list[str], allow: Callable[[str], Awaitable[None]]) -> None:
        calls = [name for name in names if name in SCOPES]
        if len(calls) > MOST_CALLS:
            words = ", ".join(SCOPES)
            raise Refused(413, f"A request may ask at most {MOST_CALLS} of {words}.")
        for scope in dict.fromkeys(SCOPES[name] for name in calls):
            await allow(scope)

    def _check_lists(self, variables: Mapping[str, Any]) -> None:
        """Refuse more rows than any field would take, before they are made fit for it."""
        self._check_rows(sum(len(v) for v in variables.values() if isinstance(v, list)))

    def _check_rows(self, count: int) -> None:
        most = self._server.settings.max_rows
        if count > most:
            words = f"There must be at most {most} rows, but there are {count}."
            raise Refused(413, words)

    def _check_values(self, info: GraphQLResolveInfo, count: int) -> None:
        """Refuse more values than may be asked for, before any is found.

        Args:
            info: the field.
            count: how many objects it gives.
        """
        call: _Call = info.context
        call.values += count * values_asked(info.field_nodes, info.fragments, self._lists)
        if call.values > MOST_VALUES:
            words = f"{call.values} values are asked for, rows x fields, and at most {MOST_VALUES}"
            raise Refused(413, f"{words} may be. Ask for fewer rows or fields.")

    async def _rows(
        self, info: GraphQLResolveInfo, rows: list[Any]
    ) -> "tuple[bytes, list[BaseModel]]":
        """The body that REST would have got, and its checked rows."""
        call: _Call = info.context
        call.rows += len(rows)
        self._check_rows(call.rows)
        self._check_values(info, len(rows))
        body = json.dumps(rows, default=str).encode()
        return body, await self._server.read(self._server.reader.rows, body)

    async def _predict(self, _: Any, info: GraphQLResolveInfo, rows: list[Any]) -> Any:
        call: _Call = info.context
        body, checked = await self._rows(info, rows)
        asked = Asked("graphql/predict", call.began, call.key_id, body)
        found = self._server.content(await self._server.score(checked, asked))
        online = [
            {"name": name, "version": table["version"], "ageSeconds": table["age_seconds"]}
            for name, table in found["online"].items()
        ]
        shared = {"bundle": found["bundle"], "model": found["model"], "online": online}
        return [
            {**shared, **_listed(prediction), "predictionId": prediction["prediction_id"]}
            for prediction in found["predictions"]
        ]

    async def _explain(self, _: Any, info: GraphQLResolveInfo, rows: list[Any]) -> Any:
        _body, checked = await self._rows(info, rows)
        found = await self._server.explained(checked)
        shared = {"bundle": found["bundle"], "model": found["model"]}
        return [{**shared, **explanation} for explanation in found["explanations"]]

    async def _feedback(self, _: Any, info: GraphQLResolveInfo, outcomes: list[Any]) -> Any:
        body = json.dumps(outcomes, default=str).encode()
        return await self._server.told(body, info.context.key_id)

    def _columns(self, _: Any, info: GraphQLResolveInfo) -> Any:
        self._check_values(info, len(self._reader.checks))
        return columns_shown(self._reader)

    def _model(self, _: Any, info: GraphQLResolveInfo) -> Any:
        self._check_values(info, 1)
        bundle = self._server.bundle
        return {
            "product": bundle.product,
            "description": bundle.description,
            "bundle": bundle.tag,
            "model": bundle.partition,
            "task": bundle.decision.task,
            "labels": list(bundle.decision.classes),
            "threshold": bundle.decision.asked_threshold,
            "modelCard": bundle.model_card,
        }


class _Execution(ExecutionContext):
    """Answers a document, and makes what is long in a thread: others are answered meanwhile."""

    def complete_list_value(
        self, return_type: Any, field_nodes: Any, info: Any, path: Any, result: Any
    ) -> Any:
        """The list as JSON shows it, or what gives it when awaited."""
        given = (return_type, field_nodes, info, path, result)
        complete = super().complete_list_value
        # `schema` is answered in a thread already; within a row nothing waits for anything.
        is_rows = path.prev is None and info.field_name in SCOPES
        if is_rows and len(result) > _FEW:
            return asyncio.to_thread(complete, *given)
        return complete(*given)


def _listed(prediction: dict[str, Any]) -> dict[str, Any]:
    """A prediction, with the probabilities of its classes as a list."""
    each = prediction.get("probabilities")
    if each is None:
        return prediction
    return {
        **prediction,
        "probabilities": [{"label": n, "probability": p} for n, p in each.items()],
    }


def _told(errors: list[dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """The errors, and the gravest of their statuses."""
    return {"errors": errors}, max(error["extensions"]["status"] for error in errors)


def _shown(error: GraphQLError, observer: "Observer") -> dict[str, Any]:
    """An error as GraphQL has it, in REST's words where REST has some."""
    cause = error.original_error
    content: dict[str, Any] = dict(error.formatted)
    content["message"] = printable(_message(error))
    content["extensions"] = {"status": 400}
    if isinstance(cause, Refused):
        said = cause.content()
        content["message"] = said["error"]
        content["extensions"] = {"status": cause.status, "details": said["details"]}
        if "Retry-After" in cause.headers:
            content["extensions"]["retryAfterSeconds"] = int(cause.headers["Retry-After"])
    elif error.path is not None and cause is not None and not isinstance(cause, GraphQLError):
        observer.failed(cause, "graphql")
        content["message"] = "The server made a mistake."
        content["extensions"] = {"status": 500}
    return content


def _message(error: GraphQLError) -> str:
    """The message, without the whole row that graphql-core repeats where one value is wrong."""
    cause = error.original_error
    if not isinstance(cause, GraphQLError) or not error.message.endswith(f"; {cause.message}"):
        return error.message
    place = _PLACE.search(error.message[: -len(cause.message)])
    return f"{place[1]}: {cause.message}" if place else cause.message
