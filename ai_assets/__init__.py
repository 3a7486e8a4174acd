"""Declare an AI product in one YAML file; get its whole life as a graph of Dagster assets."""

import os

# Threads of a training that wait for each other spin, as OpenMP has it, and on cores that anything
# else needs too they keep the one they wait for from running: beside a daemon and a web server
# trainings took four times as long. It is read when the first library with OpenMP is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
