"""Between protobuf's messages and tensors. Like `grpc_server`, imported only where gRPC is on."""

from collections.abc import Sequence
from typing import Any

from ai_assets.serving.problems import Refused
from ai_assets.serving.protocols.inference import inference_pb2 as pb
from ai_assets.serving.protocols.tensors import (
    BYTES,
    Output,
    Spec,
    Tensor,
    check_tensors,
    from_list,
    from_raw,
    from_texts,
    spec_of,
    to_raw,
    wrong,
)

# FP16 has no list of its own: the protocol sends it raw.
_LISTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def tensors(request: Any) -> list[Tensor]:
    """The inputs of a ModelInferRequest.

    Raises:
        Refused: says which input is not as the protocol has it.
    """
    check_tensors(len(request.inputs))
    specs = [spec_of(i.name, i.datatype, list(i.shape)) for i in request.inputs]
    raw = request.raw_input_contents
    if not raw:
        return [_typed(spec, i.contents) for spec, i in zip(specs, request.inputs, strict=True)]
    if len(raw) != len(specs):
        raise Refused(
            400, f"raw_input_contents must be one for each of {len(specs)} inputs, not {len(raw)}."
        )
    for spec, given in zip(specs, request.inputs, strict=True):
        if given.HasField("contents"):
            raise wrong(spec.name, "must not have contents beside raw_input_contents.")
    return [from_raw(spec, content) for spec, content in zip(specs, raw, strict=True)]


def answer(response: Any, found: Sequence[Output], *, raw: bool) -> Any:
    """Put outputs into a ModelInferResponse.

    Args:
        response: the message, without outputs.
        found: the outputs.
        raw: send raw bytes instead of typed lists.
    """
    for output in found:
        sent = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if raw:
            response.raw_output_contents.append(to_raw(output))
            continue
        values = output.values
        if output.datatype == BYTES:
            values = [value.encode() for value in values]
        getattr(sent.contents, _LISTS[output.datatype]).extend(values)
    return response


def metadata(content: dict[str, Any]) -> Any:
    """A model's metadata as a message."""
    found = pb.ModelMetadataResponse(
        name=content["name"], versions=content["versions"], platform=content["platform"]
    )
    for member in ("inputs", "outputs"):
        for tensor in content[member]:
            getattr(found, member).add(**tensor)
    return found


def _typed(spec: Spec, contents: Any) -> Tensor:
    field = _LISTS.get(spec.datatype)
    if field is None:
        raise wrong(spec.name, f"{spec.datatype} must come in raw_input_contents.")
    for given, _ in contents.ListFields():
        if given.name != field:
            raise wrong(spec.name, f"{spec.datatype} must come in {field}, not in {given.name}.")
    values = list(getattr(contents, field))
    return from_texts(spec, values) if spec.datatype == BYTES else from_list(spec, values)
