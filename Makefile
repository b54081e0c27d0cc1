# The environment lives in .venv and is made on first use; PYTHON= names the interpreter it is made
# with. A lock file or pyproject.toml that has changed, or another PYTHON, brings it up to date.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
READY := $(VENV)/.ready-$(VERSION)

DEMO_OUT ?= runs/lno
# Two workers are faster than one on two cores, and more of them disturb tests that count seconds.
TEST_WORKERS ?= 2
PYTEST_ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Files with an underscore are parts of others; the soak takes twenty minutes by itself.
BENCHMARKS := $(filter-out benchmarks/output.py benchmarks/soak.py,$(shell ls benchmarks/*.py | grep -v _))

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY)  ## run examples/lno.yaml to its answer (at most ten minutes on two cores)
	$(BIN)/voltaloop run examples/lno.yaml --out $(DEMO_OUT)

.PHONY: test
test: $(READY)  ## run the fast tests; PYTEST_ARGS= adds options
	$(BIN)/pytest -n $(TEST_WORKERS) $(PYTEST_ARGS)

.PHONY: slow
slow: $(READY)  ## run the tests of real engines, which take minutes
	$(BIN)/pytest -m slow $(PYTEST_ARGS)

.PHONY: lint
lint: $(READY)  ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: $(READY)  ## run the scripts of benchmarks/; their figures go to runs/benchmarks
	@mkdir -p runs/benchmarks
	@set -e; for script in $(BENCHMARKS); do echo "$$script"; \
	  OMP_NUM_THREADS=1 $(BIN)/python $$script \
	    --json runs/benchmarks/$$(basename $$script .py).json; done

.PHONY: gpaw
gpaw: $(READY)  ## add GPAW, real density-functional theory, to the environment (needs g++)
	@command -v g++ >/dev/null || { echo "GPAW is compiled: install g++ first." >&2; exit 1; }
	GPAW_CONFIG="$(CURDIR)/requirements/gpaw-config.py" $(PIP) install --no-cache-dir \
	  --constraint requirements/lock.txt gpaw==26.7.0 gpaw-data "dftd3>=1.7"
	@$(BIN)/python -c 'import gpaw, gpaw.cgpaw; print("GPAW", gpaw.__version__, "is installed.")'

.PHONY: gap
gap: $(READY)  ## add GAP (quippy: for academic, non-commercial work only) to the environment
	@echo "GAP's licence (ASL) allows academic, non-commercial use only: https://github.com/libAtoms/GAP"
	$(PIP) install --constraint requirements/lock.txt quippy-ase==0.10.3 f90wrap==0.3.0
	@$(BIN)/python -c 'import quippy; from importlib.metadata import version; print("quippy", version("quippy-ase"), "is installed.")'

.PHONY: deepmd
deepmd:  ## make .deepmd, an environment of its own for DeePMD-kit (2 GB)
	scripts/deepmd.sh

.PHONY: clean
clean:  ## remove the environment, caches and builds; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/lock.txt pyproject.toml
	@test -n "$(VERSION)" || { echo "There is no interpreter '$(PYTHON)'." \
	  "Name a Python 3.11 or 3.12: make ... PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "voltaloop needs Python 3.11 or later; '$(PYTHON)' is $(VERSION)." \
	  "Name another: make ... PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Preparing the environment in $(VENV) with Python $(VERSION) (a few minutes) ..."
	@test -e $@ || "$(PYTHON)" -m venv --clear $(VENV) || { \
	  echo "The environment could not be made (on Debian: apt install python3-venv)." >&2; exit 1; }
	@$(PIP) install --requirement requirements/lock.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@touch $@
