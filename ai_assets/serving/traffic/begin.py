"""What traffic begins with. Light: BentoML's supervisor imports it too."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_assets.serving.settings import Settings
    from ai_assets.serving.start import Loaded
    from ai_assets.serving.traffic.follow import Follower
    from ai_assets.serving.traffic.releases import Releases
    from ai_assets.serving.traffic.router import Router


def first_router(loaded: "Loaded", settings: "Settings") -> "Router":
    """Sends everything to the bundle that was loaded, until a release says otherwise."""
    from ai_assets.serving.traffic.releases import Release
    from ai_assets.serving.traffic.router import Router, Serving
    from ai_assets.serving.traffic.slots import Slot

    slot = Slot(loaded.bundle, loaded.reader, loaded.engine, settings)
    now = Serving(Release(loaded.bundle.tag), slot)
    return Router(now, loaded.keeper, loaded.metrics, settings.max_shadow, settings.max_seconds)


def follower(
    releases: "Releases | None", loaded: "Loaded", router: "Router", settings: "Settings"
) -> "Follower | None":
    """What follows the ledger; None where one bundle is served, always the same."""
    if releases is None:
        return None
    from ai_assets.serving.traffic.follow import Follower

    return Follower(releases, router, loaded.keeper, settings, loaded.metrics)
