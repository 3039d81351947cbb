# Each target sets up .venv by itself where it is missing or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

SECONDS_OF_TORTURE ?= 300

# The tests start hundreds of processes: where Python is told to keep no bytecode, each would compile megaflow anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo install test coverage test-long torture simulate lint bench bench-consume bench-wire bench-publish bench-lambda bench-local format clean

demo: $(READY)
	$(BIN)/python samples/demo.py

install: $(READY)
	@echo 'It is in $(VENV): . $(BIN)/activate'

test: $(READY)
	$(BIN)/python -m pytest -n 2

coverage: $(READY)
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --show-missing

test-long: $(READY)
	$(BIN)/python -m pytest -m long -n 2 --dist worksteal

torture: $(READY)
	$(BIN)/python -m tests.torture --seconds $(SECONDS_OF_TORTURE)

simulate: $(READY)
	$(BIN)/python -m tests.simulation --seeds 100000

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks.dispatch

bench-consume: $(READY)
	$(BIN)/python -m benchmarks.consume

bench-wire: $(READY)
	$(BIN)/python -m benchmarks.wire

bench-publish: $(READY)
	$(BIN)/python -m benchmarks.publish

bench-lambda: $(READY)
	$(BIN)/python -m benchmarks.lambda_start

bench-local: $(READY)
	$(BIN)/python benchmarks/local.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-* .coverage .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "megaflow needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)
