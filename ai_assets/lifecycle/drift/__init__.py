"""What changed since training: a small reference, numbers over all rows, a page to read."""
