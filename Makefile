# Every target is listed by `make help`. Packages go to .venv and nothing else is touched.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTHON := $(BIN)/python
# -qq: errors only; pip's warnings about its own configuration are nobody's business here.
# --only-binary: a package without a build for this machine is named, in place of pages of a compiler's errors.
PIP := $(PYTHON) -m pip install -qq --disable-pip-version-check --no-input --only-binary :all:
NOT_INSTALLED := { echo "The packages could not be installed; the reason stands above. EcoHash runs on Linux with glibc 2.28 or newer (x86-64, arm64) and on macOS 14 or newer with Apple silicon: see README.md." >&2; exit 1; }
PACKAGES := accounts billing images inference ecohash tools
# Three processes keep two cores busy while tests wait; each has its own Redis, database and VAR_DIR.
PYTEST := $(PYTHON) -m pytest
WORKERS ?= 3
# Each process of a run, and each program that a test starts, loads the same modules: compiled once, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- run ------------------------------------------------------------------------------------------

.PHONY: up
up: .venv/run.stamp ## install and start everything on this machine; Ctrl-C stops it
	@ulimit -n "$$(ulimit -Hn)" 2>/dev/null || true; exec $(PYTHON) manage.py up

# --- test -----------------------------------------------------------------------------------------

.PHONY: test
test: .venv/dev.stamp ## run the tests that need nothing but this checkout, without those of the miniature's training
	@$(PYTEST) -n $(WORKERS) --ignore tools/miniature

.PHONY: test-miniature
test-miniature: .venv/dev.stamp ## run the tests of how the miniature is trained and examined
	@$(PYTEST) -n $(WORKERS) tools/miniature

.PHONY: test-flows
test-flows: .venv/dev.stamp ## start the whole platform as `make up` does, and use it
	@$(PYTEST) -m flows tests/flows

.PHONY: test-services
test-services: .venv/dev.stamp ## run the money and job tests on PostgreSQL, and those of real services
	@$(PYTEST) -n $(WORKERS) --postgres -m "services or not (attacks or browser or clients or faults or flows or gate or money)" tests/accounts tests/billing tests/images tests/services

.PHONY: test-browser
test-browser: .venv/dev.stamp ## run the journeys in a real browser (needs Chromium)
	@$(PYTEST) -m browser tests/browser

.PHONY: test-faults
test-faults: .venv/dev.stamp ## kill processes while they work, then check the books
	@$(PYTEST) -n 2 -m faults tests/faults

.PHONY: test-attacks
test-attacks: .venv/dev.stamp ## attack the running platform as a stranger would (short; FULL=1 for the whole measure)
	@$(PYTEST) -m attacks tests/attacks $(if $(FULL),--full -s,-n 2)

.PHONY: test-clients
test-clients: .venv/dev.stamp ## use the platform with sixteen clients of others (installs them in var/clients; needs Node.js 20)
	@$(PYTEST) -m clients tests/clients

.PHONY: test-gate
test-gate: .venv/dev.stamp ## send crowds through limits, caps and repeated calls, on SQLite and on PostgreSQL
	@$(PYTEST) -m gate tests/flows
	@$(PYTEST) --postgres -m gate tests/flows

.PHONY: test-money
test-money: .venv/dev.stamp ## play cases and months of money to the paid invoice, and print each figure, on SQLite and on PostgreSQL
	@$(PYTEST) -s -m money tests/billing/invoicing
	@$(PYTEST) -s -m money --postgres tests/billing/invoicing

.PHONY: coverage
coverage: .venv/dev.stamp ## run the tests, the miniature's too, and show the lines that none reaches
	@$(PYTEST) -n $(WORKERS) --cov --cov-report=term-missing:skip-covered

# --- measure: figures on this machine, with nothing else running -----------------------------------

.PHONY: bench-fairness
bench-fairness: .venv/dev.stamp ## measure how long one image waits beside another customer's burst
	@$(PYTHON) -m benchmarks.fairness

.PHONY: bench-books
bench-books: .venv/dev.stamp ## measure how long a year of books takes to check itself (needs PostgreSQL; HOLDS=1000000)
	@$(PYTHON) -m benchmarks.books --holds $(or $(HOLDS),1000000)

.PHONY: bench-pages
bench-pages: .venv/dev.stamp ## measure the money pages of an organization with a large month (needs PostgreSQL; BATCHES=40000)
	@$(PYTHON) -m benchmarks.pages --batches $(or $(BATCHES),40000)

.PHONY: bench-loading
bench-loading: .venv/dev.stamp ## measure how long a GPU worker takes until it can draw
	@$(PYTHON) -m benchmarks.loading

# --- the miniature: hours of work for a CPU, kept in var/miniature between runs ---------------------

.PHONY: miniature
miniature: .venv/dev.stamp ## train the miniature checkpoint from nothing, or on from where it stopped
	@nice -n 10 $(PYTHON) -m tools.miniature.training

.PHONY: miniature-report
miniature-report: .venv/dev.stamp ## examine the miniature: 400 combinations that it was not taught
	@$(PYTHON) -m tools.miniature.evaluation

# --- check ----------------------------------------------------------------------------------------

.PHONY: check
check: lint types imports migrations-check ## run every static check

.PHONY: lint
lint: .venv/dev.stamp ## find mistakes and style that differs (ruff; templates: djangofmt; Markdown: rumdl; spelling: codespell)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/djangofmt check .
	@$(BIN)/djangofmt --check .
	@$(BIN)/rumdl check --quiet .
	@$(BIN)/codespell

.PHONY: format
format: .venv/dev.stamp ## format the code and repair what can be repaired (the same tools)
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@$(BIN)/djangofmt .
	@$(BIN)/rumdl fmt --quiet .

.PHONY: types
types: .venv/dev.stamp ## check the types (mypy)
	@$(PYTHON) -m mypy $(PACKAGES) benchmarks tests conftest.py

.PHONY: imports
imports: .venv/dev.stamp ## check which package may import which (import-linter)
	@$(BIN)/lint-imports

.PHONY: migrations-check
migrations-check: .venv/dev.stamp ## fail when a model changed without its migration
	@$(PYTHON) manage.py makemigrations --check --dry-run

# --- keep -----------------------------------------------------------------------------------------

.PHONY: clean
clean: ## remove caches and what tests left (not .venv, not var)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov .coverage .coverage.*
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print | xargs rm -rf

# --- packages: the stamps let a second run skip pip -----------------------------------------------

.venv/bin/python:
	@python=""; \
	for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "EcoHash needs Python 3.11 or newer: install it so that python3.11 (or newer) is on PATH." >&2; exit 1; \
	fi; \
	if ! "$$python" -m venv .venv; then \
	  echo "$$python cannot make a virtual environment: install its venv package (Debian: python3-venv)." >&2; \
	  rm -rf .venv; exit 1; \
	fi

.venv/run.stamp: requirements.txt requirements-web.txt constraints.txt | .venv/bin/python
	@echo "Installing packages into .venv (once, a few minutes) ..."
	@$(PIP) -r requirements.txt || $(NOT_INSTALLED)
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	@echo "Installing the development tools into .venv ..."
	@$(PIP) -r requirements-dev.txt || $(NOT_INSTALLED)
	@touch $@
