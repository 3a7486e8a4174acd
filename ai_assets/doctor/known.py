"""Every setting AI_ASSETS_… that something reads."""

from dataclasses import fields

_NOTIFIER = "AI_ASSETS_ALERTS_"
_OTHERS = (
    "AI_ASSETS_ADMIT_NEW_COLUMNS", "AI_ASSETS_BUNDLE", "AI_ASSETS_HOME", "AI_ASSETS_INJECT",
    "AI_ASSETS_INJECT_FROM", "AI_ASSETS_LOG_DAYS", "AI_ASSETS_PROVIDERS", "AI_ASSETS_SIGNING_KEY",
    "AI_ASSETS_TICK_SECONDS",
)  # fmt: skip


def known_settings() -> tuple[str, ...]:
    """Those of servers, of alerts, and the others."""
    from ai_assets.resources.notify import Notifier
    from ai_assets.serving.settings import Settings

    servers = (f"AI_ASSETS_{one.name.upper()}" for one in fields(Settings))
    alerts = (f"{_NOTIFIER}{name.upper()}" for name in Notifier.model_fields)
    return (*servers, *alerts, *_OTHERS)


def is_known(name: str) -> bool:
    return name in known_settings()
