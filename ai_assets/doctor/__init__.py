"""What keeps this machine, this checkout or this state from working, and what to do about it."""
