"""Anomaly replay: real rows changed in 13 named ways, by a seed."""

from ai_assets.lifecycle.injection.inject import (
    INJECTIONS,
    Injection,
    code_after,
    get_injection,
    inject,
)

__all__ = ["INJECTIONS", "Injection", "code_after", "get_injection", "inject"]
