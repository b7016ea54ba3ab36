# voxport: `make demo` shows it at work, `make test` proves it. `make help` lists the rest.
# Needs Python 3.11 or newer, make, and a package index; no model hub.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The versions everything here was made with; `make demo CONSTRAINTS=` installs the newest that fit instead.
CONSTRAINTS ?= constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

# Tests run side by side, one file at a time in each process; `make test SIDE_BY_SIDE=` runs them in one.
SIDE_BY_SIDE ?= -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test test-full test-oldest resolve-aarch64 lint format docs build examples bench clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# The stamps record what a virtual environment holds: each is newer than what decides its contents.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voxport needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "installing voxport and what it needs into $(VENV) ..."
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(CONSTRAINTS) | $(VENV)/.installed
	$(PIP_INSTALL) --editable '.[reference]' --group test
	@touch $@

$(VENV)/.installed-lint: pyproject.toml $(CONSTRAINTS) | $(VENV)/.installed-test
	$(PIP_INSTALL) --group lint
	@touch $@

# A report's page is looked at in a browser: of the system, since no package of Python brings one. Where it can't be
# installed, the tests that need it are skipped and say so.
$(VENV)/.browser: | $(BIN)/python
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v chromium || command -v google-chrome; } >/dev/null; then \
	  echo "installing Chromium, to look at a report's page in the tests ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	    chromium fonts-noto-cjk >/dev/null || echo "could not: those tests will be skipped"; \
	fi
	@touch $@

install: $(VENV)/.installed  ## Install voxport into .venv

demo: $(VENV)/.installed  ## Fetch whisper-tiny.en, transcribe a real recording, print text and speed
	@$(BIN)/python scripts/demo.py

# Downloads come first and by digest; the tests themselves run with the network refused.
test: $(VENV)/.installed-test $(VENV)/.browser  ## Run the tests that fit CI
	$(BIN)/python scripts/fetch_test_data.py
	VOXPORT_TEST_REQUIRE_MODELS=1 $(BIN)/python -m pytest -q -m "not full" $(SIDE_BY_SIDE)

test-full: $(VENV)/.installed-test $(VENV)/.browser  ## Run all tests
	$(BIN)/python scripts/fetch_test_data.py
	VOXPORT_TEST_REQUIRE_MODELS=1 $(BIN)/python -m pytest -q --hypothesis-profile=default $(SIDE_BY_SIDE)

test-oldest:  ## All that `make test` runs, with the oldest torch supported (its CUDA build may come: gigabytes)
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt

resolve-aarch64: $(BIN)/python  ## Whether the base install resolves to wheels on 64-bit ARM, the hosts of Ascend NPUs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	scripts/resolve_aarch64.sh $(BIN)

lint: $(VENV)/.installed-lint  ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-lint  ## Put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## Generate the pages of docs/reference that follow from the code
	$(BIN)/python scripts/generate_reference.py

examples: $(VENV)/.installed-test  ## Make the reports under examples/ again
	$(BIN)/python scripts/make_examples.py

build: $(VENV)/.installed-test  ## Build the wheel and the sdist into dist/
	$(BIN)/python -m build

bench: $(VENV)/.installed  ## Accuracy, speed, cold start, long recordings, beside other engines (builds their environments first)
	$(PIP_INSTALL) --group benchmark
	$(BIN)/python benchmarks/setup_engines.py
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/long_recordings.py

clean:  ## Remove what make made here (models stay in VOXPORT_HOME)
	rm -rf $(VENV) .bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
