"""Bad requests to a served bundle, made of good ones by mistakes; number and seed name each."""

import base64
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bad_http import Message, frame, head_mistaken, noise
from mutations import as_json, bytes_mutated, text_mutated, values_mutated

_PREDICT = (
    "query ( $rows : [RowInput!]! ) { predict ( rows : $rows ) { predictionId label probability "
    "threshold bundle model online { name version ageSeconds } } }"
)
_EXPLAIN = (
    "query ( $rows : [RowInput!]! ) { explain ( rows : $rows ) { output base contributions { "
    "feature value contribution } } }"
)
_SCHEMA = "{ __schema { types { name fields { name type { name ofType { name } } } } } }"
_FRAGMENT = (
    "query A ( $rows : [RowInput!]! ) { ...F } fragment F on Query { a : predict ( rows : $rows ) "
    "{ label @include ( if : true ) } b : __typename }"
)
_FEEDBACK = (
    "mutation ( $outcomes : [OutcomeInput!]! ) { feedback ( outcomes : $outcomes ) { recorded } }"
)
_CONTENTS = {
    "INT64": "int64_contents", "FP64": "fp64_contents", "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip
_QUERIES = (_PREDICT, _EXPLAIN, _SCHEMA, _FRAGMENT, _FEEDBACK)


@dataclass(frozen=True)
class Bad:
    """A bad request.

    Attributes:
        way: how it comes in.
        sent: what is sent over a connection; of gRPC the message.
        opening: what is sent, and answered, before it.
        closing: what is sent once it was answered.
        answers: how many answers come before that.
        ends: whether HTTP sees its end; what has none need not be answered.
    """

    way: str
    sent: bytes
    opening: bytes = b""
    closing: bytes = b""
    answers: int = 0
    ends: bool = True


class BadRequests:
    """Makes bad requests.

    Args:
        rows: good rows, as members of JSON.
        outcomes: good rows of feedback.
        model: name of the model in the Open Inference Protocol.
        token: the key of a caller who may ask everything.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        outcomes: list[dict[str, Any]],
        model: str,
        token: str,
        seed: int,
    ) -> None:
        self._rows, self._outcomes, self._model = rows, outcomes, model
        self._token, self._seed = token, seed
        self._ways: dict[str, Callable[[random.Random], Bad]] = {
            "REST": self._rest,
            "v2": self._v2,
            "GraphQL": self._graphql,
            "events": self._events,
            "WebSocket": self._socket,
            "gRPC": self._grpc,
        }
        self.ways = tuple(self._ways)

    def make(self, number: int) -> Bad:
        """The request of that number; the ways take turns."""
        rng = random.Random(f"{self._seed}-{number}")
        return self._ways[self.ways[number % len(self.ways)]](rng)

    def _rest(self, rng: random.Random) -> Bad:
        kind = rng.random()
        if kind < 0.12:
            path = rng.choice(("/", "/docs.json", "/openapi.json", "/readyz", "/livez", "/metrics"))
            asked = f"{path}?{noise(rng)}" if rng.random() < 0.7 else f"{path}/{noise(rng)}"
            if rng.random() < 0.2:
                asked = f"/debug/profile?seconds={rng.choice(('-1', 'x', '1e9', 'nan', ''))}"
            message = Message(asked, b"", method=rng.choice(("GET", "GET", "POST")))
            return self._over_http("REST", message, rng, 0.3)
        path = rng.choice(("/predict", "/predict", "/explain", "/feedback"))
        good: Any = rng.sample(self._outcomes if path == "/feedback" else self._rows, 1)
        if rng.random() < 0.3:
            good = rng.sample(self._rows, 3)
        content = good if rng.random() < 0.3 else good[0]
        return self._with_json("REST", path, content, rng)

    def _v2(self, rng: random.Random) -> Bad:
        model = self._model if rng.random() < 0.95 else noise(rng)
        path = f"/v2/models/{model}"
        if rng.random() < 0.1:
            tail = rng.choice(("", "/ready", "/versions/1", f"/versions/{noise(rng)}/ready", "/x"))
            message = Message(path + tail, b"", method=rng.choice(("GET", "GET", "POST")))
            return self._over_http("v2", message, rng, 0.3)
        count = rng.randint(1, 4)
        tensors = self._tensors(rng, count)
        if rng.random() < 0.6:
            return self._with_json("v2", f"{path}/infer", {"inputs": tensors}, rng)
        raw = b""
        for tensor in tensors:
            content = _packed(tensor)
            tensor.pop("data")
            tensor["parameters"] = {"binary_data_size": len(content)}
            raw += content
        document: Any = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        if rng.random() < 0.6:
            document = values_mutated(document, rng)
        head = as_json(document, rng)
        body = head + (raw if rng.random() < 0.6 else bytes_mutated(raw, rng))
        message = Message(f"{path}/infer", body)
        length = rng.choice(
            (len(head), len(head), len(head), len(head) - 1, len(body) + 9, -1, "x")
        )
        message.set("Inference-Header-Content-Length", str(length))
        return self._over_http("v2", message, rng, 0.1)

    def _graphql(self, rng: random.Random) -> Bad:
        query = rng.choice(_QUERIES)
        variables: Any = {"rows": rng.sample(self._rows, rng.randint(1, 3))}
        if "mutation" in query:
            variables = {"outcomes": rng.sample(self._outcomes, 1)}
        content: Any = {"query": query, "variables": variables}
        kind = rng.random()
        if kind < 0.1:
            depth = rng.choice((5, 50, 5000))
            content["query"] = _endless(depth, rng)
        elif kind < 0.5:
            for _ in range(rng.randint(1, 3)):
                content["query"] = text_mutated(content["query"], rng)
        else:
            content["variables"] = values_mutated(variables, rng)
        return self._with_json("GraphQL", "/graphql", content, rng, 0.15)

    def _events(self, rng: random.Random) -> Bad:
        rows = rng.sample(self._rows, rng.randint(1, 4))
        lines = [as_json(values_mutated(r, rng) if rng.random() < 0.7 else r, rng) for r in rows]
        body = rng.choice((b"\n", b"\n", b"\r\n", b"\n\n \n", b"", b"\r")).join(lines)
        message = Message("/stream", bytes_mutated(body, rng) if rng.random() < 0.3 else body)
        message.set("Content-Type", "application/x-ndjson")
        return self._over_http("events", message, rng, 0.25)

    def _socket(self, rng: random.Random) -> Bad:
        opening = Message("/stream", b"", method="GET", length="", headers=[
            ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("X-API-Key", self._token),
            ("Sec-WebSocket-Key", base64.b64encode(rng.randbytes(16)).decode()),
        ])  # fmt: skip
        upgrade = opening.bytes().replace(b"Connection: close", b"Connection: Upgrade")
        if rng.random() < 0.1:
            return Bad("WebSocket", bytes_mutated(upgrade, rng), ends=False)
        frames = []
        for row in rng.sample(self._rows, rng.randint(1, 3)):
            content = as_json(values_mutated(row, rng), rng)
            text = bytes_mutated(content, rng) if rng.random() < 0.3 else content
            (code,) = rng.choices((1, 2, 0, 3, 9, 15), (60, 30, 2, 2, 4, 2))
            frames.append(frame(code, text, rng, masked=rng.random() < 0.97))
        sent = b"".join(frames)
        if rng.random() < 0.1:
            sent = bytes_mutated(sent, rng)
        closing = frame(8, b"\x03\xe8", rng)
        return Bad("WebSocket", sent, upgrade, closing, answers=len(frames), ends=False)

    def _grpc(self, rng: random.Random) -> Bad:
        from ai_assets.serving.protocols.inference import inference_pb2 as pb

        request, raw = pb.ModelInferRequest(model_name=self._model), rng.random() < 0.5
        mutated = values_mutated(self._tensors(rng, rng.randint(1, 4)), rng, 2)
        for tensor in mutated if isinstance(mutated, list) else [mutated]:
            # What a client of protobuf cannot write at all is left out.
            with suppress(TypeError, ValueError, KeyError, AttributeError, struct.error):
                shape = [size for size in tensor["shape"] if type(size) is int]
                one = request.inputs.add(
                    name=tensor["name"], datatype=tensor["datatype"], shape=shape
                )
                if raw:
                    request.raw_input_contents.append(_packed(tensor))
                    continue
                kind = _CONTENTS.get(tensor["datatype"], "int64_contents")
                texts = kind == "bytes_contents"
                values = [str(v).encode() if texts else v for v in tensor["data"]]
                getattr(one.contents, kind).extend(values)
        content = request.SerializeToString()
        return Bad("gRPC", bytes_mutated(content, rng) if rng.random() < 0.3 else content)

    def _tensors(self, rng: random.Random, count: int) -> list[dict[str, Any]]:
        rows = rng.sample(self._rows, count)
        kinds = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
        return [
            {"name": name, "datatype": kinds[type(value)], "shape": [count],
             "data": [row.get(name, value) for row in rows]}
            for name, value in rows[0].items()
        ]  # fmt: skip

    def _with_json(
        self, way: str, path: str, content: Any, rng: random.Random, wrong: float = 1.0
    ) -> Bad:
        """A request whose JSON has mistakes, for sure or by a chance, or else its bytes or head."""
        kind = rng.random()
        if wrong < 1.0 and kind >= wrong:
            return self._over_http(way, Message(path, as_json(content, rng)), rng, 0.0)
        mistaken = values_mutated(content, rng) if kind < 0.6 * wrong else content
        body = as_json(mistaken, rng)
        if 0.6 * wrong <= kind < 0.8 * wrong:
            body = bytes_mutated(body, rng)
        return self._over_http(way, Message(path, body), rng, 0.05 if kind < 0.8 * wrong else 1.0)

    def _over_http(self, way: str, message: Message, rng: random.Random, share: float) -> Bad:
        """The request; that share of them has a mistake in what HTTP says."""
        names = {name for name, _ in message.headers}
        message.headers.append(("X-API-Key", self._token))
        if "Content-Type" not in names:
            message.headers.append(("Content-Type", "application/json"))
        if rng.random() < share:
            head_mistaken(message, rng)
        return Bad(way, message.bytes(), ends=message.ends)


def _packed(tensor: dict[str, Any]) -> bytes:
    """The values as the binary extension has them."""
    forms = {"INT64": "<q", "FP64": "<d", "BOOL": "<?"}
    if tensor["datatype"] in forms:
        return b"".join(struct.pack(forms[tensor["datatype"]], v) for v in tensor["data"])
    texts = [str(value).encode("utf-8", "replace") for value in tensor["data"]]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _endless(depth: int, rng: random.Random) -> str:
    """A query that is too deep, too wide, or refers to itself."""
    fields = "{ fields { type " * depth + "{ name " + "} } " * depth
    kinds = [
        f'{{ __type(name: "Query") {fields} }} }}',
        "{ " + " ".join(f"a{n}: __typename" for n in range(depth)) + " }",
        "query { ...F } fragment F on Query { ...F }",
        "{ predict(rows: " + "[" * depth + "]" * depth + ") { label } }",
    ]
    return rng.choice(kinds)
