# `make run` is all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
# What pip is asked for first. Another build: make setup TORCH="torch==2.13.0 --index-url <index>"
TORCH ?= torch==2.13.0
PORT ?= 3000
JOBS ?= 2
BIN := .venv/bin
WITH_ENV := set -a; source .env; set +a;

.PHONY: help setup env run products replay dev doctor test test-all lint format typecheck tools check-yaml lock clean

help: ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: .venv/.installed env ## make .venv, .env and the state folder; does only what is missing

.venv/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || { echo "Making .venv with $(PYTHON)"; "$(PYTHON)" -m venv .venv; }
	@echo "Installing torch, then the locked packages (about 2 GB; some minutes the first time)"
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet "$$(grep -oE '^uv==[^ ]+' requirements.lock)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

env:
	@deploy/write_env.sh

run: setup ## the whole life of flight_delay: train, bundle, serve, ask one question
	@$(WITH_ENV) $(BIN)/python -m ai_assets.journey

products: setup ## the whole life of every shipped product, or of those named: PRODUCTS="digit_reading"
	@$(WITH_ENV) $(BIN)/python -m ai_assets.shipped $(PRODUCTS)

replay: setup ## flight_delay through 2013 under its own sensors; INJECT=<name> breaks something
	@$(WITH_ENV) $(BIN)/python -m ai_assets.replay $(if $(INJECT),--inject $(INJECT)) $(REPLAY)

dev: setup ## webserver and daemon on http://127.0.0.1:$PORT
	@$(WITH_ENV) $(BIN)/dagster dev --host 127.0.0.1 --port $(PORT) --workspace workspace.yaml

# Not after `setup`: it tells what keeps that from working.
doctor: ## what would keep this checkout from working, and what to do about it
	@$(BIN)/python -m ai_assets.doctor --ports $(PORT) 3001 3002

test: setup tools lint typecheck ## lint, types and every test but the whole journeys
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test-all: setup tools ## the whole journeys, one after another
	$(BIN)/python -m pytest -m slow --timeout 1800

lint: setup ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: setup ## mypy, over the package and the benchmarks
	$(BIN)/mypy

# One folder at a time: of components of one type `dg check yaml` looks at the last alone.
check-yaml: setup ## find mistakes in the products' defs.yaml, by file and line
	@$(WITH_ENV) export VIRTUAL_ENV="$(CURDIR)/.venv" PATH="$(CURDIR)/$(BIN):$$PATH"; wrong=0; \
	    for file in ai_assets/products/*/defs.yaml; do \
	        echo "$$file"; $(BIN)/dg check yaml "$$(dirname "$$file")" || wrong=1; \
	    done; exit $$wrong

tools:
	@deploy/install_test_tools.sh

bench-%: setup ## run benchmarks/<topic>.py, for example `make bench-load`
	@$(WITH_ENV) $(BIN)/python benchmarks/$*.py

lock: ## write what .venv holds to requirements.lock, with hashes, torch and this project left out
	@$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable \
	    | grep -vE '^(torch|triton|pip|ai-assets|cuda-.*|nvidia-(cu|nccl|nvjitlink|nvshmem|nvtx).*)( @|==)' > .venv/frozen.txt
	@$(BIN)/uv pip compile --quiet --python $(BIN)/python --no-deps --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links -o requirements.lock .venv/frozen.txt > /dev/null
	@echo "requirements.lock pins $$(grep -c '==' requirements.lock) packages"

clean: ## remove caches and builds; keeps .venv, .env and the state folder
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
