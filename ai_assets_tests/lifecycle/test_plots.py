"""Pictures: small, readable, the same every time, and drawn without pyplot."""

import base64
import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from ai_assets.lifecycle.evaluation import plots

_GENERATOR = np.random.default_rng(1)
P = _GENERATOR.beta(1.5, 4, 3_000)
Y = (_GENERATOR.random(3_000) < P).astype(float)
CURVE = [{"step": i, "train": 0.5 + 0.2 / (i + 1), "validation": 0.5} for i in range(300)]
DRIFT = pl.DataFrame(
    {"column": ["a", "b", "c"], "psi": [0.3, 0.1, None], "drifted": [True, False, True]}
)

PICTURES: dict[str, Callable[[], bytes]] = {
    "roc": lambda: plots.roc(Y, P),
    "pr": lambda: plots.pr(Y, P),
    "calibration": lambda: plots.calibration(Y, P),
    "confusion": lambda: plots.confusion(Y, P, 0.3, ["on time", "late"]),
    "importances": lambda: plots.importances({f"feature_{i}": 1 / (i + 1) for i in range(40)}),
    "learning_curve": lambda: plots.learning_curve({"mlp": CURVE, "linear": CURVE[:1]}),
    "trials": lambda: plots.trials({"mlp": np.array([np.nan, 0.5, 0.4]), "linear": [0.6]}),
    "drift": lambda: plots.drift(DRIFT, 0.2),
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_a_png_below_60_kilobytes_and_never_changes(name: str) -> None:
    png = PICTURES[name]()

    assert png.startswith(b"\x89PNG")
    assert 2_000 < len(png) < 60_000
    assert png == PICTURES[name]()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.roc([0, 0], [0.1, 0.2]),
        lambda: plots.pr([0, 0], [0.1, 0.2]),
        lambda: plots.calibration([1], [0.5]),
        lambda: plots.confusion([1], [0.5], 0.5),
        lambda: plots.learning_curve({"linear": []}),
        lambda: plots.trials({}),
        lambda: plots.importances({}),
        lambda: plots.drift(DRIFT.clear(), 0.2),
    ],
)
def test_pictures_of_next_to_nothing_are_still_pictures(draw: Callable[[], bytes]) -> None:
    assert draw().startswith(b"\x89PNG")


def test_the_roc_picture_shows_a_curve_above_guessing() -> None:
    from PIL import Image

    good = np.asarray(Image.open(io.BytesIO(plots.roc(Y, Y * 0.9 + 0.05))).convert("RGB"))

    blue = np.all(np.abs(good.astype(int) - (0, 0x72, 0xB2)) < 12, axis=2)
    top = blue[: good.shape[0] // 4].sum()
    assert top > 100


def test_a_markdown_image_carries_its_bytes() -> None:
    shown = plots.as_markdown_image(b"\x89PNG", "ROC curve")

    assert shown.startswith("![ROC curve](data:image/png;base64,")
    assert base64.b64decode(shown.split(",")[1].rstrip(")")) == b"\x89PNG"


def test_drawing_leaves_pyplot_alone_and_importing_leaves_matplotlib_alone() -> None:
    code = (
        "import sys; from ai_assets.lifecycle.evaluation import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.roc([0, 1], [0.1, 0.9])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
