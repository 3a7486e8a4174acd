"""The computing, a package a stage. Knows nothing of Dagster, MLflow or BentoML."""
