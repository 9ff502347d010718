# The index of gates. `make build-wheel` does the main job, `make test` runs every test,
# `make check` is the fast loop; each sets up what it needs below .venv and build.

PYTHON ?= python3
FLAVOR ?= cuda
STACK ?= emu3_5
FUZZ_RUNS ?= 200000
BENCH ?=
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --quiet --durations=10 --junitxml
# A file stays with one process, so that what its tests share is set up once.
PARALLEL := --numprocesses auto --dist loadfile
# Where files take minutes, in the tests' own order: the longest first.
LONGEST_FIRST := $(PARALLEL) --no-loadscope-reorder

# What an engine of the tests need not do again: compile vLLM's and torch's modules (19 s in every
# process that imports them), the kernels of a graph that was compiled before (torch's cache goes by
# the graph's content), and three programs that ask the compiler which vectors it knows (15 s).
unexport PYTHONDONTWRITEBYTECODE
integration stack smoke: export TORCHINDUCTOR_CACHE_DIR := $(CURDIR)/build/inductor
integration stack smoke: export TORCHINDUCTOR_VEC_ISA_OK := 1

# Gigabytes come while the processor has other work: a pause of theirs is not the network's end.
export UV_HTTP_TIMEOUT ?= 300
export PIP_DEFAULT_TIMEOUT ?= 120

# A wheel that was built already, to smoke or to put into an image, instead of building it.
WHEEL ?=
export WHEEL
# Before anything is installed for it.
$(if $(WHEEL),$(if $(shell test -f "$(WHEEL)" && echo yes),,$(error WHEEL=$(WHEEL): no such file)))

# Under another name, for a recipe that does more than call make: "make -n" runs every line in which
# make reads its own variable, and would start an engine.
SUITES = $(MAKE)

# Without one, the image stands on Docker's official Python, or on Debian packages offline.
BASE_IMAGE ?=
DEBIAN_BASE := vllm-patchkit-base:bookworm

SOURCES := $(shell find tooling -name '*.py') pyproject.toml
PATCHES := $(wildcard patches/$(STACK)/*) wheels/inputs.toml
CPU_LOCK := wheels/requirements-cpu.lock
# The release, beside the stack's own, on which the tests prove a stack.
OTHER_RELEASE := 0.32.0
# The CPU build's extension exists for these two; the tests take the first that this machine has.
CPU_PYTHON = $(shell ci/find-python.sh 3.12 3.11)
CPU_TAG = $(if $(findstring 3.12,$(CPU_PYTHON)),cp312,cp311)

.DEFAULT_GOAL := help
.PHONY: help check lint lint-stack unit property fuzz release integration stack smoke container test build-wheel reproduce \
	bench image smoke-image base-image env-cpu clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@echo "making $(VENV), the tools' environment: a minute or two without a word" >&2
	ci/make-venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[image,smoke]" --group dev
	touch $@

check: lint unit ## lint, types and unit tests, in a minute

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	! command -v shellcheck >/dev/null || shellcheck ci/*.sh ci/image/*.sh .ci/run

lint-stack: $(VENV)/.ready ## every rule for a stack of patches (STACK)
	$(BIN)/vllm-patchkit lint $(STACK)

unit: $(VENV)/.ready
	$(PYTEST) build/junit/unit.xml $(PARALLEL) tests/unit

property: $(VENV)/.ready ## generated edits, against git apply and GNU patch
	$(PYTEST) build/junit/property.xml $(PARALLEL) tests/property tests/fuzz

fuzz: $(VENV)/.ready ## fuzz every reader of foreign bytes, guided by coverage (FUZZ_RUNS)
	ci/fuzz.sh $(FUZZ_RUNS)

integration: $(VENV)/.ready build/env-cpu/.ready build/env-cpu-$(OTHER_RELEASE)/.ready build/transformers-5/.ready ## real wheels, environments and tools
	$(PYTEST) build/junit/integration.xml $(LONGEST_FIRST) tests/integration

stack: build/env-cpu/.ready ## the patched vLLM itself, on the processor
	build/env-cpu/bin/python -m pytest --quiet --durations=10 --junitxml build/junit/stack.xml \
		$(LONGEST_FIRST) tests/stack

smoke: build/env-cpu/.ready ## does the built CPU wheel generate
	$(BIN)/vllm-patchkit smoke --python build/env-cpu/bin/python --device cpu \
		--out build/smoke

container: $(VENV)/.ready build/wheel-cpu-cp311 build/wheelhouse-cpu/.ready ## build an image and serve from it
	$(PYTEST) build/junit/container.xml --tb=short tests/container

test: $(VENV)/.ready ## every test (as root, with packages and an engine of its own; INSTALL=no, ENGINE=no refuse)
	ci/install-packages.sh
	rm -rf build/junit build/inductor
	ci/with-engine.sh $(SUITES) --keep-going --no-print-directory --jobs=2 --output-sync=target \
		check property integration container stack; \
		status=$$?; $(BIN)/python ci/total.py build/junit; exit $$status

build-wheel: $(VENV)/.ready ## build the patched wheel (FLAVOR=cuda|cpu)
	$(BIN)/vllm-patchkit wheel --stack $(STACK) --flavor $(FLAVOR)

reproduce: $(VENV)/.ready ## build the wheel twice and more, everywhere different, and compare
	ci/reproduce.sh $(STACK) $(FLAVOR)

release: $(VENV)/.ready build-wheel ## write everything that a release publishes into build/release
	rm -rf build/release
	$(BIN)/vllm-patchkit release --out build/release wheels/out/*.whl
	$(BIN)/vllm-patchkit verify-release build/release

bench: build/env-cpu/.bench ## time against the peers named; fails where a goal is missed (BENCH=NAME for one)
	VLLM_PYTHON=build/env-cpu/bin/python $(BIN)/python tests/bench/run.py --stack $(STACK) $(BENCH)

image: $(VENV)/.ready ## build the container image (FLAVOR, BASE_IMAGE)
	mkdir -p build
	ci/make-image.sh $(STACK) $(FLAVOR) $(BASE_IMAGE) > build/image-$(FLAVOR).new
	mv build/image-$(FLAVOR).new build/image-$(FLAVOR)
	cat build/image-$(FLAVOR)

smoke-image: build/image-$(FLAVOR) ## does the built image generate (FLAVOR)
	$(BIN)/vllm-patchkit smoke --image "$$(cat $<)" --device $(if $(filter cpu,$(FLAVOR)),cpu,cuda) \
		--out build/smoke-image

build/image-%:
	$(MAKE) image FLAVOR=$*

base-image: ## make a base image from Debian packages, for use without a registry of images
	ci/base-image.sh $(DEBIAN_BASE)

env-cpu: build/env-cpu/.ready ## an environment with the CPU wheel, for the stack tests

build/wheel-cpu-%: $(SOURCES) $(PATCHES) | $(VENV)/.ready
	mkdir -p build
	$(if $(WHEEL),ls "$(WHEEL)",$(BIN)/vllm-patchkit wheel --stack $(STACK) --flavor cpu \
		--python-tag $*) > $@.new
	mv $@.new $@

build/env-cpu/.requirements: $(CPU_LOCK) | $(VENV)/.ready
	test -n "$(CPU_PYTHON)"
	@echo "installing vLLM's requirements, 8 GB: one minute to ten without a word" >&2
	$(BIN)/uv venv --quiet --clear --python $(CPU_PYTHON) build/env-cpu
	$(BIN)/uv pip install --quiet --python build/env-cpu --require-hashes --requirement $(CPU_LOCK)
	touch $@

build/env-cpu/.tools: pyproject.toml build/env-cpu/.requirements
	$(BIN)/uv pip install --quiet --python build/env-cpu --group stack
	touch $@

build/env-cpu/.ready: build/env-cpu/.tools build/wheel-cpu-$(CPU_TAG)
	$(BIN)/uv pip install --quiet --python build/env-cpu --no-deps --reinstall-package vllm \
		"$$(cat build/wheel-cpu-$(CPU_TAG))"
	$(BIN)/uv pip check --python build/env-cpu
	touch $@

# Another release, for a stack on it; the tests put the wheel in.
build/env-cpu-%/.ready: wheels/requirements-cpu-%.lock | $(VENV)/.ready
	test -n "$(CPU_PYTHON)"
	$(BIN)/uv venv --quiet --clear --python $(CPU_PYTHON) $(@D)
	$(BIN)/uv pip install --quiet --python $(@D) --require-hashes --requirement $<
	touch $@

build/env-cpu/.bench: build/env-cpu/.ready
	$(BIN)/uv pip install --quiet --python build/env-cpu --group bench
	touch $@

# The first transformers that no longer has what a checkpoint's remote code imports.
build/transformers-5/.ready: | $(VENV)/.ready
	$(BIN)/uv pip install --quiet --python $(CPU_PYTHON) --no-deps --target $(@D) \
		transformers==5.0.0 huggingface-hub==1.4.1 hf-xet==1.2.0 typer-slim==0.21.1
	touch $@

# What an image build without an index installs from: every file of the lock, for Debian's Python.
build/wheelhouse-%/.ready: wheels/requirements-%.lock | $(VENV)/.ready
	mkdir -p $(@D)
	$(BIN)/python ci/fetch-wheels.py --python 3.11 --out $(@D) wheels/requirements-$*.lock
	touch $@

clean: ## remove what was built
	rm -rf wheels/out build $(VENV)
