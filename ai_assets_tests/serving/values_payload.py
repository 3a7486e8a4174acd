"""The small payload as that of a product that answers with a number."""

from pathlib import Path

import small_payload as small

from ai_assets.lifecycle.drift.columns import NumberProfile
from ai_assets.lifecycle.drift.profile import Profile
from ai_assets.lifecycle.schema.calibration import Calibration
from ai_assets.lifecycle.schema.decision import Decision
from ai_assets.lifecycle.schema.interval import Interval
from ai_assets.resources.signer import Signer

HALF = 0.25
# Of 80 test rows a quarter were answered with up to a half, all others with more.
USUAL = NumberProfile(80, 0, [0.5], [20, 60], 0.25, 1.0, 0.6, 0.2)


def payload_of(folder: Path, interval: Interval | None) -> Path:
    """The folder with payload and lake; the model's number is an answer by itself."""
    small.write_payload(folder / "payload")
    texts = {
        "decision.json": Decision("regression", classes=(), interval=interval).to_json(),
        "calibration.json": Calibration().to_json(),
        "reference.json": Profile({"prediction": USUAL}).to_json(),
    }
    for name, text in texts.items():
        (folder / "payload" / name).write_text(text, encoding="utf-8")
    facts = {**small.FACTS, "task": "regression"}
    Signer(key_path=str(folder / "key.pem")).sign(folder / "payload", facts)
    small.write_weather(folder / "lake")
    return folder
