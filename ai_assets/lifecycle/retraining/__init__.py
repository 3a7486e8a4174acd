"""When to retrain: a product's policy, and one recorded decision for each verdict."""
