"""The model of a bundle, opened by ONNX Runtime."""

from typing import TYPE_CHECKING

from ai_assets.lifecycle.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime


def open_model(content: bytes, threads: int) -> "onnxruntime.InferenceSession":
    """A session for the content of `model.onnx`.

    Args:
        content: as verified.
        threads: threads for one batch.

    Raises:
        BundleError: ONNX Runtime cannot read it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no public base class
        raise BundleError(f"model.onnx cannot be read: {error}") from error
