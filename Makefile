# The index of gates. `make build-wheel` does the main job, `make test` runs every test,
# `make check` is the fast loop; each sets up what it needs.

PYTHON ?= python3
FLAVOR ?= cuda
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help check lint unit build-wheel test clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q --editable ".[image,smoke]" --group dev
	touch $@

check: lint unit ## lint, types and unit tests

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.ready
	$(BIN)/pytest -q tests/unit

build-wheel: $(VENV)/.ready ## build the patched wheel (FLAVOR=cuda|cpu)
	$(BIN)/vllm-patchkit wheel --stack emu3_5 --flavor $(FLAVOR)

test: $(VENV)/.ready check ## every test
	$(BIN)/pytest -q tests

clean: ## remove what was built
	rm -rf wheels/out $(VENV)
