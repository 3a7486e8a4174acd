"""What runs inside a bundle: one FastAPI app, under BentoML or an ASGI server directly."""
