# Two commands do everything on a machine with Python 3.11: `make table2` and `make test`.
PYTHON ?= python3.11
VENV ?= .venv
CORES ?= 2
BIN := $(VENV)/bin

.PHONY: venv table2 report test test-fast test-processors check

venv: $(VENV)/.made

# Made whole or not at all: the mark is set after the last step.
$(VENV)/.made: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

table2: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) results/table2.csv

report: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) everything
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake everything --report results/report.html

# The longest files come first, so that neither worker waits for the other at the end.
test: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile \
		--no-loadscope-reorder tests/cluster tests/workflow tests/conformance tests/unit

# What a change breaks most often, in two minutes: no workflow, and nothing slow.
test-fast: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" \
		tests/unit tests/conformance

# With the instructions of three generations of processors, on 1 and 2 threads.
test-processors: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/instruction_sets.sh

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow
	# One environment serves all rules (requirements.txt), so that none names one of its own.
	! PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --lint 2>&1 | grep '^    \* ' | \
		grep -v 'Specify a conda environment or container'
