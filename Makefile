# make demo  sets up an environment, reads sample_logs/ and prints the answer
# make test  sets up an environment and runs all tests
# make check lint, layout, types, floors, SQL style

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test check bench docs clean

demo: $(READY)
	$(BIN)/pgtrace demo sample_logs

test: $(READY)
	$(BIN)/pytest -n auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --processes 0 queries

bench: $(READY)
	$(BIN)/python -m benchmarks.ingest_speed
	$(BIN)/python -m benchmarks.wal_speed
	$(BIN)/python -m benchmarks.why_speed
	$(BIN)/python -m benchmarks.validity

docs: $(READY)
	$(BIN)/python -m pgtrace.docs

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pgtrace needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info
