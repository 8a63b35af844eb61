# Two commands do all set-up: `make run` and `make test`. Each installs what it needs into .venv first.
# TORCH=cpu make setup    installs the CPU-only build of torch instead (smaller; see README)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test test-fast real weaviate lint format lock clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --no-deps --compile-bytecode --requirements requirements.lock $(if $(TORCH),--torch-backend $(TORCH))
	$(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $(READY)

setup: $(READY)  ## install everything into .venv (a second call reuses it)

run: $(READY)  ## the whole line: validate, train, index, evaluate, package, answer
	@freshtune retrain
	@freshtune ask "How long does a parcel wait in a Nest before it goes back?"

test: $(READY)  ## all tests, linters and types
	@ruff check . && ruff format --check . && mypy
	@OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal

test-fast: $(READY)  ## the tests that need no real model and no server
	@OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal -m "not slow and not weaviate"

real: $(READY)  ## the same line on public support data and real policies (see benchmarks/real.py)
	@python -m benchmarks.real

weaviate: $(READY)  ## a running Weaviate: WEAVIATE_URL, Docker Compose, or one built with Go (see flows/weaviate.py)
	@python -m flows.weaviate

lint: $(READY)  ## ruff and mypy
	@ruff check . && ruff format --check . && mypy

format: $(READY)  ## let ruff format and fix
	@ruff format . && ruff check --fix .

lock: $(READY)  ## resolve requirements.lock and serving/requirements.lock again
	@uv pip compile --quiet --universal --no-header --no-annotate --group dev pyproject.toml -o requirements.lock
	@uv pip compile --quiet --universal --no-header --no-annotate -c requirements.lock serving/requirements.in -o serving/requirements.lock

clean:  ## remove what runs made (models, reports, stores, caches), keep .venv and data
	@rm -rf models reports data/validated .freshtune dvc.lock .dvc/tmp .dvc/cache
