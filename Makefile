PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: all demo test lint types contract unit integration faults faults-quick mutants soak test-interop bench bench-quick bench-readme clean

all: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "py-rq needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: all
	$(BIN)/python -m pyrq demo

test: lint types contract unit-and-integration faults-quick

lint: all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: all
	$(BIN)/mypy

contract: all
	$(BIN)/lint-imports

.PHONY: unit-and-integration
unit-and-integration: all
	$(BIN)/coverage erase
	$(BIN)/python -m tests.beside
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

unit: all
	$(BIN)/python -m pytest tests/unit

integration: all
	$(BIN)/python -m pytest tests/integration

faults: all
	$(BIN)/python -m tests.faults

faults-quick: all
	$(BIN)/python -m tests.faults --quick

mutants: all
	$(BIN)/python -m tests.mutants

MINUTES ?= 60
soak: all
	$(BIN)/python -m tests.soak $(MINUTES)

test-interop: all
	$(BIN)/python -m pytest tests/interop

bench: all
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: all
	$(BIN)/python -m benchmarks --quick $(BENCH)

bench-readme: all
	$(BIN)/python -m benchmarks.report.headline

clean:
	rm -rf $(VENV) .venv-interop .venv-bench .tox .coverage* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
