"""The tabular network with 8-bit hidden layers."""

from ai_assets.lifecycle.compression.quantization import dynamic_int8
from ai_assets.lifecycle.compression.recipes import Candidate, Job, Recipe


def recipes(job: Job) -> list[Recipe]:
    """One: all layers but the last in 8-bit integers."""

    def build() -> Candidate:
        graph = dynamic_int8(job.winner.to_onnx(), ("MatMul",))
        about = "hidden layers in 8-bit integers"
        return Candidate("int8", job.winner.family, graph, None, about)

    return [Recipe("int8", "int8_dynamic", build)]
