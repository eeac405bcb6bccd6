# The commands of this project; each does its own set-up on a bare machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: run demo test test-slow lint format bench clean

run: $(READY)
	@UPLOADSVC_ENV=$${UPLOADSVC_ENV:-development} $(BIN)/gunicorn -c gunicorn.conf.py wsgi:app

demo: $(READY)
	@$(BIN)/python -m uploadsvc.server.demo

test: $(READY_DEV)
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY_DEV)
	$(BIN)/python -m pytest -m slow

lint: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY_DEV)
	$(BIN)/python -m bench

# Packages of the distribution that only the tests need; running the service needs none.
.PHONY: system-packages
system-packages:
	@sh tools/system-packages.sh

$(READY): setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(READY_DEV): $(READY) tests/clients/package-lock.json | system-packages
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	cd tests/clients && npm ci --silent --no-fund --no-audit
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
