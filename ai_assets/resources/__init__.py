"""The outside world: lake, tracking, bundles, signer, ledger, decisions, notifier, cores."""

import os
import warnings
from typing import Any

from ai_assets.resources.bundles import BundleStore
from ai_assets.resources.cores import Cores
from ai_assets.resources.decisions import DecisionLog
from ai_assets.resources.lake import Lake
from ai_assets.resources.lake_io_manager import LakeIOManager
from ai_assets.resources.ledger import ReleaseLedger
from ai_assets.resources.notify import Notifier
from ai_assets.resources.signer import Signer
from ai_assets.resources.tracking import ExperimentTracker


def default_resources() -> dict[str, Any]:
    """The embedded defaults: everything under the state root."""
    lake = Lake()
    return {
        "lake": lake,
        "io_manager": LakeIOManager(lake=lake),
        "tracker": ExperimentTracker(),
        "bundles": BundleStore(),
        "signer": Signer(),
        "ledger": ReleaseLedger(lake=lake),
        "decisions": DecisionLog(lake=lake),
        "notifier": Notifier(),
        "cores": Cores(),
    }


def warn_where_state_is_lost() -> None:
    """Warn when Dagster would keep its history in a temporary folder and forget it."""
    unset = [name for name in ("DAGSTER_HOME", "AI_ASSETS_HOME") if not os.environ.get(name)]
    if unset:
        warnings.warn(
            f"{' and '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set: what you "
            "materialize may be forgotten when the command ends. Run `make setup`, then "
            "`set -a; source .env; set +a`.",
            stacklevel=2,
        )
