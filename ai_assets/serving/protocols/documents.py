"""The JSON documents of an inference over REST, and the raw tensors that may follow them."""

from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.tensors import (
    Output,
    Tensor,
    check_tensors,
    from_list,
    from_raw,
    spec_of,
    to_raw,
    wrong,
)
from ai_assets.serving.text import as_json

_SIZE = "binary_data_size"


@dataclass(frozen=True)
class Wanted:
    """An output that was asked for; `binary` is None where the request as a whole decides."""

    name: str
    binary: bool | None


@dataclass(frozen=True, eq=False)
class Inference:
    """What a request asks for.

    Attributes:
        id: the caller's own name for it; the answer repeats it.
        inputs: the tensors.
        outputs: those asked for; none means all.
        binary: whether outputs are raw unless they say otherwise.
    """

    id: str
    inputs: list[Tensor]
    outputs: list[Wanted]
    binary: bool


def read(body: bytes, head_length: str | None) -> Inference:
    """Read the body of a request.

    Args:
        body: a JSON document, and behind it the raw tensors that it tells of.
        head_length: bytes of the document; None where it is all.

    Raises:
        Refused: says what is not as the protocol has it.
    """
    head, raw = _split(body, head_length)
    try:
        content = from_json(head, allow_inf_nan=True)
    except ValueError as error:
        raise Refused(400, f"The body must be JSON, but {error}.") from error
    if not isinstance(content, dict):
        raise Refused(400, "The body must be an object with 'inputs'.")
    name = content.get("id", "")
    if not isinstance(name, str):
        raise Refused(400, "'id' must be a text.")
    inputs = _tensors(_list(content, "inputs"), raw)
    outputs = [_wanted(item) for item in _list(content, "outputs")]
    return Inference(name, inputs, outputs, _flag(content, "binary_data_output") or False)


def answer(
    content: dict[str, Any], found: list[Output], asked: Inference
) -> tuple[bytes, list[bytes]]:
    """The answer's JSON document, and the raw tensors to send behind it.

    Args:
        content: the members beside `outputs`.
        found: the outputs.
        asked: the request, which says how each output is to be sent.
    """
    chosen = {output.name: output.binary for output in asked.outputs}
    outputs, blobs = [], []
    for output in found:
        shown: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        binary = chosen.get(output.name)
        if asked.binary if binary is None else binary:
            blobs.append(to_raw(output))
            shown["parameters"] = {_SIZE: len(blobs[-1])}
        else:
            shown["data"] = output.values
        outputs.append(shown)
    text = as_json({**content, "outputs": outputs})
    return text.encode("utf-8", "replace"), blobs


def _split(body: bytes, head_length: str | None) -> tuple[bytes, memoryview]:
    if head_length is None:
        return body, memoryview(b"")
    # int() would take signs, spaces and digits of other scripts.
    if not (head_length.isascii() and head_length.isdigit() and len(head_length) < 16):
        raise Refused(400, "Inference-Header-Content-Length must be a number of bytes.")
    length = int(head_length)
    if length > len(body):
        raise Refused(
            400, f"Inference-Header-Content-Length is {length}, but the body has {len(body)} bytes."
        )
    return body[:length], memoryview(body)[length:]


def _tensors(given: list[Any], raw: memoryview) -> list[Tensor]:
    check_tensors(len(given))
    tensors, at = [], 0
    for item in given:
        if not isinstance(item, dict):
            raise Refused(400, "Each of 'inputs' must be an object.")
        spec = spec_of(item.get("name"), item.get("datatype"), item.get("shape"))
        size = _parameters(item).get(_SIZE)
        if size is None:
            if "data" not in item:
                raise wrong(spec.name, f"must have 'data', or the parameter '{_SIZE}'.")
            tensors.append(from_list(spec, item["data"]))
            continue
        if "data" in item:
            raise wrong(spec.name, f"must not have both 'data' and the parameter '{_SIZE}'.")
        if type(size) is not int or not 0 <= size <= len(raw) - at:
            left = len(raw) - at
            raise wrong(spec.name, f"'{_SIZE}' must be at most the {left} raw bytes that follow.")
        tensors.append(from_raw(spec, raw[at : at + size]))
        at += size
    if at != len(raw):
        raise Refused(400, f"There are {len(raw) - at} raw bytes that no input tells of.")
    return tensors


def _wanted(item: Any) -> Wanted:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise Refused(400, "Each of 'outputs' must be an object with a 'name'.")
    return Wanted(item["name"], _flag(item, "binary_data"))


def _flag(item: dict[str, Any], name: str) -> bool | None:
    given = _parameters(item).get(name)
    if given is not None and not isinstance(given, bool):
        raise Refused(400, f"The parameter '{name}' must be true or false.")
    return given


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
    given = item.get("parameters", {})
    if not isinstance(given, dict):
        raise Refused(400, "'parameters' must be an object.")
    return given


def _list(content: dict[str, Any], name: str) -> list[Any]:
    given = content.get(name, [])
    if not isinstance(given, list):
        raise Refused(400, f"'{name}' must be a list.")
    return given
