# make demo    set up, then run Reinstate's demo
# make test    set up (system packages too, when root), then lint, types, import contracts and every test but torture
# make help    the rest
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export PYTHON ?= python3

BIN := .venv/bin
READY := .venv/.ready
# One more than there are processors: a test often waits for a server.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: help demo test packages check torture bench frames pictures bundle clean

help:  ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

$(READY): pyproject.toml constraints.txt scripts/environment scripts/system-packages
	scripts/environment
	@touch $@

demo: $(READY)  ## set up, then run the demo: a sandbox, an incident in it, and the restore
	$(BIN)/reinstate demo

packages:
	@scripts/system-packages tests
	@scripts/mysql-server

test: packages check  ## everything but torture; as root it installs the system packages it needs
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not torture"

check: $(READY)  ## the fast part: lint, form, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: packages $(READY)  ## kill points and faults, enumerated; prints points and outcomes
	$(BIN)/pytest -m torture -n $(WORKERS) --dist loadgroup -s

bench: packages $(READY)  ## measurements against the plain tools; one of them: make bench BENCH=NAME
	@scripts/system-packages bench
	$(BIN)/python -m tests.bench $(BENCH)

frames: $(READY)  ## draw the screens' text frames anew; read the difference before you commit it
	REINSTATE_FRAMES=write $(BIN)/pytest -q tests/screens -k looks

pictures: $(READY)  ## render the README's pictures and table of keys from the running console
	TZ=UTC $(BIN)/python -m tests.pictures

bundle: $(READY)  ## one file in dist/ that installs Reinstate on a machine without internet
	@scripts/bundle dist

clean:  ## remove what make made: the environment, the servers of the tests, the caches
	rm -rf .venv .servers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
