"""What runs inside a bundle: one ASGI app, under BentoML or an ASGI server directly."""
