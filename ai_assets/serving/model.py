"""The model of a bundle, opened by ONNX Runtime."""

import logging
import os
from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import BundleError, must_be

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS = "AI_ASSETS_PROVIDERS"
"""Where the model may be computed, the preferred first, such as `tensorrt,cuda,cpu`."""
NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
_LOG = logging.getLogger(__name__)


def open_model(content: bytes, threads: int) -> "onnxruntime.InferenceSession":
    """A session for the content of `model.onnx`, on the first of `PROVIDERS` that works here.

    The processor is the last resort; why another was not taken is logged.

    Args:
        content: as verified.
        threads: threads for one batch.

    Raises:
        BundleError: ONNX Runtime cannot read it, or a provider's name is not known.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    wanted = usable(preferred(), onnxruntime.get_available_providers())
    for place, name in enumerate(wanted):
        try:
            session = onnxruntime.InferenceSession(content, options, providers=wanted[place:])
        except Exception as error:  # onnxruntime's own errors share no public base class
            if name == NAMES["cpu"]:
                raise BundleError(f"model.onnx cannot be read: {error}") from error
            _LOG.warning("The model is not computed by %s: %s", name, error)
            continue
        if name not in session.get_providers():
            # Its libraries are not there: ONNX Runtime itself took the next.
            _LOG.warning("The model is not computed by %s: it could not be loaded", name)
        return session
    raise AssertionError("the processor is always among them")


def preferred() -> list[str]:
    """The providers of `PROVIDERS`, by ONNX Runtime's names, the processor last.

    Raises:
        BundleError: one is not known.
    """
    given = [part.strip().lower() for part in os.environ.get(PROVIDERS, "cpu").split(",")]
    for name in given:
        if name not in NAMES:
            raise BundleError(must_be(f"each of {PROVIDERS}", NAMES, name))
    return [NAMES[name] for name in dict.fromkeys([*given, "cpu"])]


def usable(wanted: list[str], available: list[str]) -> list[str]:
    """Those that this build of ONNX Runtime has; why others are left out is logged."""
    for name in wanted:
        if name not in available:
            _LOG.warning("The model is not computed by %s: this onnxruntime lacks it", name)
    return [name for name in wanted if name in available]
