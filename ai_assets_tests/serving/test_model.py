"""Where a model is computed: by preference, with a logged reason where that cannot be."""

import logging

import numpy as np
import pytest
import small_payload as small

from ai_assets.lifecycle.errors import BundleError
from ai_assets.serving.model import PROVIDERS, open_model, preferred, usable


def test_without_a_preference_the_processor_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROVIDERS, raising=False)

    assert preferred() == ["CPUExecutionProvider"]


def test_the_order_of_the_preference_is_kept_and_the_processor_is_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PROVIDERS, "TensorRT, cuda")

    assert preferred() == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]


def test_an_unknown_provider_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROVIDERS, "cudaa,cpu")

    with pytest.raises(BundleError, match="one of 'tensorrt', 'cuda', 'cpu', but"):
        preferred()


def test_what_is_not_built_in_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = usable(["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"])

    assert found == ["CPUExecutionProvider"]
    assert caplog.messages == [
        "The model is not computed by CUDAExecutionProvider: this onnxruntime lacks it"
    ]


def test_a_model_answers_where_the_preferred_provider_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PROVIDERS, "tensorrt,cuda,cpu")

    with caplog.at_level(logging.WARNING):
        session = open_model(small.model(), 1)

    row = np.zeros((1, len(small.WEIGHTS)), np.float32)
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.run(["y"], {"x": row})[0].shape == (1, 1)
    assert any("CUDAExecutionProvider" in message for message in caplog.messages)


def test_what_is_no_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROVIDERS, "cpu")

    with pytest.raises(BundleError, match=r"model.onnx cannot be read"):
        open_model(b"no model", 1)
