"""Training: splitting rows, tuning, fitting, calibrating, and choosing among families."""
