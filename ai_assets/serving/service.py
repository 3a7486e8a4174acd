"""The BentoML service: the app of the bundle beside it, mounted at the root.

BentoML imports this twice: in its supervisor, where a bundle that does not verify ends everything,
and in each worker, which alone loads what answers.
"""

import bentoml

from ai_assets.serving.later import Later
from ai_assets.serving.place import find_bundle
from ai_assets.serving.settings import Settings
from ai_assets.serving.signature import verified

folder = find_bundle()
settings = Settings.from_environment()
manifest, _ = verified(folder, settings.trusted_key or None)
app = Later(folder, settings)


@bentoml.service(name=manifest["product"], traffic={"timeout": 60})
@bentoml.asgi_app(app, path="/")
class Service:
    """Everything is in the app."""
