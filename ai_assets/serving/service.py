"""The BentoML service: the app of the bundle beside it, mounted at the root.

`start` says what happens when. A bundle that does not verify ends everything in BentoML's
supervisor already.
"""

import bentoml

from ai_assets.serving.access.middleware import AccessMiddleware
from ai_assets.serving.access.tls import leave_to_bentoml
from ai_assets.serving.app import create_app
from ai_assets.serving.observe.middleware import ObserveMiddleware
from ai_assets.serving.place import what_to_serve

app = create_app(what_to_serve())
leave_to_bentoml(app.state.server.settings)
if bentoml.server_context.worker_index is not None:
    app.state.server.begin()


@bentoml.service(name=app.state.server.product, traffic={"timeout": 60})
@bentoml.asgi_app(app, path="/")
class Service:
    """Everything is in the app."""


# BentoML's own routes, `/metrics` among them, come before the app.
server = app.state.server
Service.add_asgi_middleware(ObserveMiddleware, observer=server.observer)  # type: ignore[attr-defined]
Service.add_asgi_middleware(AccessMiddleware, gate=server.gate, refused=server.refused)  # type: ignore[attr-defined]
