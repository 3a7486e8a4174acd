"""Whether a model treats groups of people alike, and what a mitigation changes about that."""
