"""How well the model does before labels arrive, and how far that was off when they have."""
