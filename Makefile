# Each target sets up $(VENV) by itself, with what it needs, where that is missing or out of date.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check

# What is installed by now, each on top of the one before.
FOR_DEMO := $(VENV)/.for-demo
FOR_TESTS := $(VENV)/.for-tests
FOR_DEVELOPMENT := $(VENV)/.for-development

SECONDS_OF_TORTURE ?= 300

# Whose clients the tests need; empty, and their tests are skipped.
FOREIGN ?= foreign

# Where the tests are; all of them by default.
TESTS ?=

# The tests start hundreds of processes: where Python is told to keep no bytecode, each would compile megaflow anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo install foreign test coverage test-long torture torture-sql simulate fuzz mutants lint docs bench bench-consume bench-wire bench-publish bench-relay bench-lambda bench-local bench-compare bench-telemetry bench-scale bench-start bench-bytecodes format release-check clean

demo: $(FOR_DEMO)
	@echo 'Starting the demo, samples/demo.py'
	@$(BIN)/python samples/demo.py
	@echo
	@echo 'Three commands to try next: the smallest program; an app on queues of this machine, until Ctrl-C (its first lines'
	@echo 'say what to send to it from another terminal); a project of your own, with tests, beside this folder:'
	@echo '  $(BIN)/python samples/01_quickstart.py'
	@echo '  $(BIN)/megaflow dev samples/13_command_line.py'
	@echo '  $(BIN)/megaflow new shop --path ../shop'

install: $(FOR_DEVELOPMENT)
	@echo 'It is in $(VENV): . $(BIN)/activate'

# AWS's CLI, its SDK for JavaScript, its extended clients, celery and aiobotocore, each apart from the rest: in $(VENV)/foreign.
foreign: $(FOR_TESTS)
	@$(BIN)/python -m tests.foreign

# More at a time than there are cores: half of the time, a test waits for a process, a poll or a pause.
test: $(FOR_TESTS) $(FOREIGN)
	$(BIN)/python -m pytest -n 4 $(TESTS)

coverage: $(FOR_DEVELOPMENT) $(FOREIGN)
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report --show-missing

# Those of hypothesis are in `make test`, too, with a quarter of their examples.
test-long: $(FOR_TESTS) $(FOREIGN)
	MEGAFLOW_EXAMPLES=all $(BIN)/python -m pytest -m 'long or hypothesis' -n 2 --dist worksteal

torture: $(FOR_TESTS)
	$(BIN)/python -m tests.torture --seconds $(SECONDS_OF_TORTURE)

torture-sql: $(FOR_TESTS)
	$(BIN)/python -m tests.torture_sql --seconds $(SECONDS_OF_TORTURE)

simulate: $(FOR_TESTS)
	$(BIN)/python -m tests.simulation --seeds 100000

fuzz: $(FOR_TESTS)
	$(BIN)/python -m tests.fuzz --messages $(or $(MESSAGES),1000000) $(if $(SEED),--seed $(SEED))

mutants: $(FOR_DEVELOPMENT)
	$(BIN)/python -m tests.mutants $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED)) $(if $(REACH),--reach $(REACH))

lint: $(FOR_DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(FOR_DEVELOPMENT)
	$(BIN)/python .ci/docs

bench: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.dispatch

bench-consume: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.consume

bench-wire: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.wire

bench-publish: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.publish

bench-relay: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.relay

bench-lambda: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.lambda_start

bench-local: $(FOR_DEVELOPMENT)
	$(BIN)/python benchmarks/local.py

bench-compare: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.compare --install .cache/compared

bench-telemetry: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.telemetry

bench-scale: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.scale

bench-start: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.start

bench-bytecodes: $(FOR_DEVELOPMENT)
	$(BIN)/python -m benchmarks.bytecodes --functions 20

format: $(FOR_DEVELOPMENT)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

release-check: $(FOR_DEVELOPMENT)
	$(BIN)/python .ci/release-check

clean:
	rm -rf $(VENV) .venv-* site .cache .coverage .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist

$(FOR_DEMO): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "megaflow needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	@echo 'Step 1 of 2: making the virtual environment $(VENV) with pip in it, about ten seconds'
	@$(PYTHON) -m venv $(VENV)
	@# What was installed here under the name before 0.2.0 would clash.
	@[ ! -e $(BIN)/megaflow ] || $(BIN)/python -m pip uninstall --yes --quiet --quiet megaflow
	@echo 'Step 2 of 2: installing megaflow into it, about half a minute, with what it needs: boto3, a module for BSON,'
	@echo 'pydantic, the command line, and the embedded server. What follows is what pip says'
	@$(INSTALL) --editable '.[cli,local,pydantic]'
	@touch $@

# No compiler is ever needed: google-re2 is C++, and is left out where it has no wheel for this Python.
$(FOR_TESTS): $(FOR_DEMO)
	@echo 'Installing what the tests need'
	@$(INSTALL) --only-binary google-re2 --editable '.[test,newest,re2]' \
		|| { echo 'There is no wheel of google-re2 here: going on without it'; $(INSTALL) --editable '.[test,newest]'; }
	@touch $@

$(FOR_DEVELOPMENT): $(FOR_TESTS)
	@echo 'Installing what checks the code'
	@$(INSTALL) --editable '.[dev]'
	@touch $@
