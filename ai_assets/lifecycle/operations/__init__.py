"""A product in operation: what happened partition by partition, and what other policies give."""
