"""How a new bundle takes over from the one in production: at once, or beside it, step by step."""
