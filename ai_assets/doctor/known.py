"""Every setting AI_ASSETS_… that something reads."""

from dataclasses import fields

OTHERS = {
    "AI_ASSETS_HOME": "The state root: lake, history, experiments, bundles, keys. `.state` of the "
    "working directory if unset.",
    "AI_ASSETS_ADMIT_NEW_COLUMNS": "`1` lets a table in the lake gain or lose columns; without it "
    "that is an error that names them.",
    "AI_ASSETS_BUNDLE": "Folder of a signed bundle for a server to serve; instead of "
    "AI_ASSETS_PRODUCT.",
    "AI_ASSETS_LOG_DAYS": "How many days the record of answers is kept once it is in the lake, for "
    "Dagster; for ever if unset.",
    "AI_ASSETS_SIGNING_KEY": "PEM file of the private key that signs bundles; `keys/signing.pem` "
    "below the state root if unset.",
    "AI_ASSETS_PSEUDONYM_KEY": "The key of pseudonyms (`personal: hash`) itself; the file "
    "`keys/pseudonyms.key` below the state root if unset.",
    "AI_ASSETS_PROVIDERS": "What a server computes a model on, the first that works: "
    "`tensorrt`, `cuda`, `cpu`.",
    "AI_ASSETS_TICK_SECONDS": "How often sensors look, in seconds.",
    "AI_ASSETS_INJECT": "An injection that breaks raw data, for replays and trials only.",
    "AI_ASSETS_INJECT_FROM": "The partition from which on it does.",
}
"""Those that neither a server nor the alerts read, and what each says."""

_NOTIFIER = "AI_ASSETS_ALERTS_"


def known_settings() -> tuple[str, ...]:
    """Those of servers, of alerts, and the others."""
    from ai_assets.serving.settings import Settings

    servers = (f"AI_ASSETS_{one.name.upper()}" for one in fields(Settings))
    return (*servers, *of_alerts(), *OTHERS)


def of_alerts() -> dict[str, str]:
    """Those that the notifier reads, which its fields name, and what each says."""
    from ai_assets.resources.notify import Notifier

    found = {}
    for name, field in Notifier.model_fields.items():
        variable, words = f"{_NOTIFIER}{name.upper()}", field.description or ""
        if f"${variable}" in words:
            found[variable] = words.replace(f"; ${variable}", "").replace(f"${variable}", variable)
    return found


def is_known(name: str) -> bool:
    return name in known_settings()
