"""Which values each parameter of a family may have, so that a declaration can be refused.

Read without the libraries that the families need.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ai_assets.lifecycle.errors import must_be

_WORDS = {"number": "a number", "whole": "a whole number", "flag": "true or false",
          "text": "a text"}  # fmt: skip
_JSON_TYPES = {"number": "number", "whole": "integer", "flag": "boolean", "text": "string"}


@dataclass(frozen=True)
class Allowed:
    """What a parameter may be.

    Attributes:
        kind: of value.
        least: the smallest number.
        above: instead of it, what a number must exceed.
        most: the largest number.
        below: instead of it, what a number must stay under.
    """

    kind: Literal["number", "whole", "flag", "text"] = "number"
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        what = _WORDS[self.kind]
        if self.kind in ("flag", "text"):
            return what
        high = f"below {self.below}" if self.most is None else f"{self.most}"
        bounded = self.most is not None or self.below is not None
        if self.least is None:
            up_to = high if self.most is None else f"at most {high}"
            return f"{what} above {self.above}" + (f" and {up_to}" if bounded else "")
        return f"{what} " + (
            f"from {self.least} to {high}" if bounded else f"of at least {self.least}"
        )

    def holds(self, value: Any) -> bool:
        """Whether a declared value is one of them."""
        if self.kind in ("flag", "text"):
            return isinstance(value, bool if self.kind == "flag" else str)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.kind == "whole" and value != int(value)):
            return False
        low = (self.least is None or value >= self.least) and (
            self.above is None or value > self.above
        )
        return low and (self.most is None or value <= self.most) and (
            self.below is None or value < self.below
        )  # fmt: skip

    def schema(self) -> dict[str, Any]:
        """It as JSON schema, by which editors and `dg check yaml` judge."""
        bounds = {
            "minimum": self.least,
            "exclusiveMinimum": self.above,
            "maximum": self.most,
            "exclusiveMaximum": self.below,
        }
        told = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"type": _JSON_TYPES[self.kind], **told}


_ABOVE_0, _FROM_0 = Allowed(above=0), Allowed(least=0)
_SHARE, _SHARE_BELOW_1, _SOME_SHARE = (
    Allowed(least=0, most=1),
    Allowed(least=0, below=1),
    Allowed(above=0, most=1),
)
_COUNT, _FLAG, _TEXT = Allowed("whole", least=1), Allowed("flag"), Allowed("text")
# As LightGBM checks them.
_TREES = {
    "learning_rate": _ABOVE_0,
    "num_leaves": Allowed("whole", least=2, most=131_072),
    "min_child_samples": Allowed("whole", least=0),
    "feature_fraction": _SOME_SHARE,
    "bagging_fraction": _SOME_SHARE,
    "lambda_l2": _FROM_0,
    "cat_smooth": _FROM_0,
    "cat_l2": _FROM_0,
    "max_cat_to_onehot": _COUNT,
    "path_smooth": _FROM_0,
    "extra_trees": _FLAG,
    "max_bin": Allowed("whole", least=2),
}
RANGES: Mapping[str, Mapping[str, Allowed]] = {
    "linear": {"c": _ABOVE_0},
    "lightgbm": _TREES,
    "extra_trees": _TREES,
    "mlp": {
        "width": _COUNT,
        "layers": _COUNT,
        "embedding": _COUNT,
        "dropout": _SHARE_BELOW_1,
        "learning_rate": _ABOVE_0,
        "weight_decay": _FROM_0,
    },
    "cnn": {
        "width": _COUNT,
        "stages": _COUNT,
        "blocks": _COUNT,
        "stem_stride": Allowed("whole", least=1, most=2),
        "epochs": _COUNT,
        "batch": _COUNT,
        "learning_rate": _ABOVE_0,
        "warm_up": _SHARE_BELOW_1,
        "weight_decay": _FROM_0,
        "label_smoothing": _SHARE_BELOW_1,
        "dropout": _SHARE_BELOW_1,
        "average": _SHARE,
        "shift": _SHARE,
        "rotation": Allowed(least=0, most=180),
        # Of 1 an image may shrink to nothing.
        "scale": _SHARE_BELOW_1,
        "brightness": _SHARE,
        "contrast": _SHARE,
        "erase": _SHARE,
        "weights": _TEXT,
    },
    "probe": {"C": _ABOVE_0, "encoder": _TEXT},
    "encoder": {
        "C": _ABOVE_0,
        "encoder": _TEXT,
        "trained_layers": _COUNT,
        "epochs": _COUNT,
        "batch": _COUNT,
        "learning_rate": _ABOVE_0,
        "layer_decay": _SOME_SHARE,
        "head_rate": _ABOVE_0,
        "weight_decay": _FROM_0,
        "warm_up": _SHARE_BELOW_1,
        "dropout": _SHARE_BELOW_1,
        "label_smoothing": _SHARE_BELOW_1,
    },
}
"""What may be declared, by family and parameter."""


def out_of_range(family: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each parameter that its family cannot have so, with a sentence.

    Args:
        family: its name.
        settings: values by parameter; those that cannot be declared are not looked at.
    """
    for name, value in settings.items():
        allowed = RANGES[family].get(name)
        if allowed is not None and not allowed.holds(value):
            # As YAML writes it.
            written = str(value).lower() if isinstance(value, bool) else None
            yield name, must_be(f"{name} of {family}", str(allowed), value, written=written)


def schema_of_parameters() -> dict[str, Any]:
    """JSON schema of parameters by family."""
    return {
        "properties": {
            family: {"properties": {name: allowed.schema() for name, allowed in ranges.items()}}
            for family, ranges in RANGES.items()
        }
    }
