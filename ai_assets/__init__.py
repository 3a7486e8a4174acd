"""Declare an AI product in one YAML file; get its whole life as a graph of Dagster assets."""
