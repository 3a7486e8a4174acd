"""Open Inference Protocol v2 over gRPC, with the standard health service.

It runs on the event loop of the REST server, so both fill the same batches. Import it where gRPC
was asked for: a bundle does without grpcio otherwise.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.access.calls import asked_in, call_needs, headers_in
from ai_assets.serving.access.tls import Tls
from ai_assets.serving.observe.exchange import CURRENT
from ai_assets.serving.problems import Refused, told
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.protocols.messages import answer, metadata, tensors
from ai_assets.serving.protocols.models import Models, version
from ai_assets.serving.protocols.rest import EXTENSIONS
from ai_assets.serving.record.asked import Asked

if TYPE_CHECKING:
    from ai_assets.serving.app import Server

SERVICE = "inference.GRPCInferenceService"
# Beside the tensors a message holds names and shapes.
_ROOM = 65_536
# A server that ends waits for so long without a new call, and no longer than this, in seconds.
_QUIET, _LONGEST = 0.1, 2.0
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
Handler = Callable[[Any], Awaitable[Any]]


class GrpcServer:
    """The gRPC face of a server.

    Args:
        server: the handlers that REST uses too; it must have loaded its bundle.
        host: address to listen on.
        port: port to listen on.
    """

    def __init__(self, server: "Server", host: str, port: int) -> None:
        self._server = server
        self._address = f"{host}:{port}"
        self._health = _Health(self._ready)
        self._ends, self._last_call = False, 0.0
        most = server.settings.max_body + _ROOM
        # Workers of one server share its port; two servers on one would answer in turns.
        shares = int(bool(server.settings.shared))
        self._grpc = grpc.aio.server(
            options=[("grpc.max_receive_message_length", most), ("grpc.so_reuseport", shares)]
        )

    async def start(self) -> None:
        """Take requests.

        Raises:
            BundleError: the port is taken.
        """
        handlers = grpc.method_handlers_generic_handler(SERVICE, self._methods())
        self._grpc.add_generic_rpc_handlers((handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        try:
            tls = Tls.of(self._server.settings)
            if tls is None:
                self._grpc.add_insecure_port(self._address)
            else:
                self._grpc.add_secure_port(self._address, tls.for_grpc())
        except RuntimeError as error:
            raise BundleError(
                f"gRPC cannot listen on {self._address}: is the port taken?"
            ) from error
        await self._grpc.start()

    async def stop(self) -> None:
        """Refuse new requests, and answer those under way, within the bound of any answer.

        What has come but was not taken yet when gRPC stops is cancelled, which callers do not try
        again elsewhere. So calls are told that the server is unavailable until no more come.
        """
        await self._health.enter_graceful_shutdown()
        self._ends = True
        began = time.monotonic()
        while time.monotonic() < min(max(self._last_call, began) + _QUIET, began + _LONGEST):
            await asyncio.sleep(_QUIET / 5)
        await self._grpc.stop(self._server.settings.max_seconds)

    def _methods(self) -> dict[str, grpc.RpcMethodHandler]:
        handlers: dict[str, tuple[Handler, Any]] = {
            "ServerLive": (self._server_live, pb.ServerLiveRequest),
            "ServerReady": (self._server_ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": (self._infer, pb.ModelInferRequest),
        }
        # Bytes are parsed by our own code: what is no message is the caller's mistake.
        return {
            name: grpc.unary_unary_rpc_method_handler(
                self._counted(name, handler, message),
                response_serializer=lambda found: found.SerializeToString(),
            )
            for name, (handler, message) in handlers.items()
        }

    def _counted(self, name: str, handler: Handler, message: Any) -> Any:
        """A method whose refusals become gRPC's codes, and whose answers are counted."""
        route, needs = f"grpc/{name}", call_needs(name)

        async def call(content: bytes, context: grpc.aio.ServicerContext) -> Any:
            self._last_call = time.monotonic()
            if self._ends:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "The server ends.")
            began, status = time.perf_counter(), 500
            observer = self._server.observer
            exchange = observer.begin("grpc", headers_in(context))
            token = CURRENT.set(exchange)
            try:
                exchange.key_id = await self._server.gate.admit(asked_in(context), needs)
                found = await handler(_parsed(content, message))
                status = 200
                return found
            except Refused as refused:
                status = refused.status
                trailing = tuple((key.lower(), value) for key, value in refused.headers.items())
                code = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT)
                await context.abort(code, told(refused), trailing)
            except Exception as error:
                observer.failed(error, route)
                await context.abort(grpc.StatusCode.INTERNAL, "The server made a mistake.")
            finally:
                CURRENT.reset(token)
                observer.end(exchange, route, status)
                self._server.answered(route, status, began)

        return call

    @property
    def _models(self) -> Models:
        return self._server.slot.models

    async def _ready(self) -> bool:
        try:
            await self._server.ready()
        except Refused:
            return False
        return True

    async def _server_live(self, _: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _: Any) -> Any:
        return pb.ServerReadyResponse(ready=await self._ready())

    async def _model_ready(self, request: Any) -> Any:
        self._models.find(request.name, request.version)
        return pb.ModelReadyResponse(ready=await self._ready())

    async def _server_metadata(self, _: Any) -> Any:
        version = str(self._server.bundle.manifest.get("code_version", ""))
        return pb.ServerMetadataResponse(name="ai_assets", version=version, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any) -> Any:
        return metadata(self._models.find(request.name, request.version).metadata())

    async def _infer(self, request: Any) -> Any:
        asked = Asked("grpc/ModelInfer", time.perf_counter(), _key_id())
        model = self._models.find(request.model_name, request.model_version)
        names = model.wanted([output.name for output in request.outputs])
        part = await self._server.read(model.part, tensors(request))
        scored = await self._server.score(part, asked)
        found = pb.ModelInferResponse(
            model_name=model.name, model_version=version(scored), id=request.id
        )
        # A caller that sends typed lists may not know the raw form.
        raw = bool(request.raw_input_contents)
        return answer(found, model.answers(scored, names), raw=raw)


class _Health(health.aio.HealthServicer):
    """gRPC's own health service; it asks the server at each check."""

    def __init__(self, ready: Callable[[], Awaitable[bool]]) -> None:
        super().__init__()
        self._ready = ready
        self._stopping = False

    async def Check(self, request: Any, context: Any) -> Any:
        """Whether the service can answer now."""
        if not self._stopping:
            states = health_pb2.HealthCheckResponse
            state = states.SERVING if await self._ready() else states.NOT_SERVING
            for service in ("", SERVICE):
                await self.set(service, state)
        return await super().Check(request, context)

    async def enter_graceful_shutdown(self) -> None:
        """Say from now on that the service ends."""
        self._stopping = True
        await super().enter_graceful_shutdown()


def _parsed(content: bytes, message: Any) -> Any:
    try:
        return message.FromString(content)
    except DecodeError:
        raise Refused(400, f"The request must be {message.DESCRIPTOR.full_name}.") from None


def _key_id() -> str | None:
    exchange = CURRENT.get()
    return None if exchange is None else exchange.key_id
