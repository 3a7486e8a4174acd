"""Why: the chain of evidence behind a release, a decision or a single prediction, from records."""

from ai_assets.automation.why.chain import why_decision, why_release
from ai_assets.automation.why.prediction import why_prediction
from ai_assets.automation.why.records import Records
from ai_assets.automation.why.served import why_served

__all__ = ["Records", "why_decision", "why_prediction", "why_release", "why_served"]
