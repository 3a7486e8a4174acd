"""The BentoML service: the app of the bundle beside it, mounted at the root.

Made at import, in BentoML's supervisor too: a bundle that cannot be served ends everything there,
and BentoML's own page can list the app's routes.
"""

import bentoml

from ai_assets.serving.app import create_app
from ai_assets.serving.place import find_bundle

app = create_app(find_bundle())


@bentoml.service(name=app.title, traffic={"timeout": 60})
@bentoml.asgi_app(app, path="/")
class Service:
    """Everything is in the app."""
