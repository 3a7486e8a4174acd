"""A bundle beside the one in production: what each learned from, how, how large, how fast."""

from pathlib import Path
from typing import Any

import polars as pl

from ai_assets.lifecycle.errors import MissingPartitionsError
from ai_assets.serving.bundle import Bundle
from ai_assets.stages.binding import StageRun
from ai_assets.stages.learnable import WINDOW
from ai_assets.stages.training_data import read_json

_FEW = 8
_SCHEMA = {"what": pl.String, "in_production": pl.String, "this": pl.String, "changed": pl.Boolean}


def versions_beside(run: StageRun, champion: str | None, tag: str) -> pl.DataFrame:
    """`what`, its value `in_production` and in `this` bundle, and whether it `changed`.

    What no bundle holds, such as parameters, is looked up where the bundle was made; it is empty
    where another bundle has been made there since.
    """
    ours = facts_of(run, tag)
    theirs = facts_of(run, champion) if champion else {}
    names = dict.fromkeys([*ours, *theirs])
    rows = [
        [name, theirs.get(name, ""), ours.get(name, ""), theirs.get(name) != ours.get(name)]
        for name in names
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def facts_of(run: StageRun, tag: str) -> dict[str, str]:
    """What there is to know of a bundle, in words, by what it is."""
    bundle, payload = run.tools.bundles.load(tag), run.tools.bundles.payload(tag)
    versions: dict[str, int] = bundle.manifest.get("created_from") or {}
    features, threshold = list(bundle.encoding.names), bundle.decision.asked_threshold
    return {
        "bundle": tag,
        "as of": bundle.partition or "the whole snapshot",
        "learned from": _window(payload),
        **_made(run, bundle),
        "features": f"{len(features)}: {', '.join(features[:_FEW])}"
        + (f" and {len(features) - _FEW} more" if len(features) > _FEW else ""),
        **({"threshold": f"{threshold:.4g}"} if threshold is not None else {}),
        "model": f"{len(bundle.model):,} bytes",
        **{f"version of {name}": str(version) for name, version in sorted(versions.items())},
        "declaration": str(bundle.manifest.get("code_version", ""))[:12],
    }


def _window(payload: Path) -> str:
    keys = read_json(payload, WINDOW)["keys"] if (payload / WINDOW).is_file() else None
    if not keys:
        return "all rows"
    return f"{keys[0]} to {keys[-1]} ({len(keys)})" if len(keys) > 1 else str(keys[0])


def _made(run: StageRun, bundle: Bundle) -> dict[str, str]:
    """How it was made, where its partition still tells of it."""
    at = run.at(bundle.partition)
    try:
        if _artifact(at, "bundle", "bundle.json")["tag"] != bundle.tag:
            return {}
        winner = _artifact(at, "model", "winner.json")["family"]
        params = _artifact(at, "tuning", "params.json")
        chosen = _artifact(at, "compressed_model", "chosen.json")
    except MissingPartitionsError:
        return {}
    return {
        "family": str(winner),
        "parameters": _parameters(params.get(winner, {})),
        "form": str(chosen["name"]),
        "one row": f"{chosen['p50']:.3f} ms (median), {chosen['p99']:.3f} ms (99 %)",
    }


def _artifact(run: StageRun, asset: str, name: str) -> Any:
    return read_json(run.lake.artifact(run.name(asset), run.partition), name)


def _parameters(params: dict[str, Any]) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in sorted(params.items())}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
