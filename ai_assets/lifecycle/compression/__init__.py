"""Compression: the same answers from a smaller, quicker artifact, within a declared budget."""
