"""Features: one SQL query that runs offline and online, and the guards of its honesty."""
