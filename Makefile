# Everything from a fresh clone: `make demo` shows the network at work, `make test` checks the project.
# Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help venv demo test lint types unit bench simulate fuzz coverage sanitize compare wheel reference lock clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

help:
	@echo "make demo   an authority, relays, an endpoint and a visitor on this machine"
	@echo "make test   ruff, mypy --strict and every test"
	@echo "make bench  what it costs, beside C tor where that is installed (six to nine minutes)"
	@echo "make simulate  whispers over bad lanes, a million runs (some twelve minutes)"
	@echo "make fuzz   hostile inputs for every door, guided by coverage where atheris installs (SECONDS=60,"
	@echo "            for all together; DOOR=TEXT: those with this in their names)"
	@echo "make sanitize  the compiled cipher under the compiler's sanitizers (a quarter of a minute)"
	@echo "make compare  ten million cells through both ciphers (some two minutes)"
	@echo "make wheel  a wheel in dist/, and the demo from it in an environment of its own"
	@echo "make coverage  the lines that no test runs; takes twice as long as the tests"
	@echo "make reference  API.md, written anew from the docstrings"
	@echo "make venv   only the environment, in $(VENV)"
	@echo "make lint | types | unit   one part of make test"
	@echo "make lock   write the lock files anew from pyproject.toml (UPGRADE=1: take newer versions)"
	@echo "make clean  remove what make made"

# Two steps, so that the demo need not wait for the tools of the tests. A stamp is made last: what was cut
# short is done again.
$(VENV)/.run: requirements.lock pyproject.toml onionshh/crypto/_uiv.c
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("onionshh needs Python 3.11 or later; " \
	    "$(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install -q --require-hashes -r requirements.lock
	@rm -rf build onionshh/crypto/_uiv*.so
	@$(PIP) install -q --no-build-isolation --no-deps --editable .
	@$(BIN)/python -c 'import onionshh.crypto._uiv' 2>/dev/null || echo "no compiled cipher: it takes a C" \
	    "compiler and the headers of Python and of OpenSSL 3 (Debian: gcc python3-dev libssl-dev). All" \
	    "works without, and a busy relay takes half as much CPU again."
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "setting up $(VENV) for the tests"
	@$(PIP) install -q --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo "setting up $(VENV) for the benchmarks"
	@$(PIP) install -q --require-hashes -r requirements-bench.lock
	@touch $@

venv: $(VENV)/.dev

demo: $(VENV)/.run
	@$(BIN)/onionshh demo

test: lint types unit

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@echo "ruff: clean"

types: $(VENV)/.dev
	@$(BIN)/mypy --strict

# One process per core, and one more: the one that starts real processes mostly waits for them. WORKERS=0 runs all
# tests in one process, in the order of the files.
WORKERS ?= $$($(BIN)/python -c 'import os; print(1 + (os.cpu_count() or 1))')

unit: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -W error -n $(WORKERS) --max-worker-restart 0 tests

# Whispers over bad lanes, a million runs: about twelve minutes on one core.
simulate: $(VENV)/.dev
	@$(BIN)/python -m simulations.delivery --runs 1000000

# Neither is a dependency, so neither is in a lock file: they are installed when they are asked for.
ATHERIS  := atheris==3.0.0
COVERAGE := coverage==7.17.4
SECONDS  ?= 60

fuzz: $(VENV)/.dev
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install -q --only-binary :all: $(ATHERIS) 2>/dev/null || \
	    echo "$(ATHERIS) does not install here: inputs are drawn without a look at what they reach"
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --door "$(DOOR)"

# Without the tests that start real processes: what runs there is not seen.
coverage: $(VENV)/.dev
	@$(BIN)/python -c 'import coverage' 2>/dev/null || $(PIP) install -q $(COVERAGE)
	@$(BIN)/python -m coverage run --source=onionshh,relay,rendezvous,directory \
	    -m pytest -q -W error -m "not system" tests || \
	    echo "a test that measures time or memory may fail while each line is watched"
	@$(BIN)/python -m coverage report --show-missing --skip-covered --skip-empty | sed -nE \
	    -e 's/^([^ ]+\.py) .*% +/\1: /p' -e 's/^TOTAL .* ([0-9]+%).*/\1 of the lines are run by a test/p'

sanitize: $(VENV)/.dev
	@$(BIN)/python -m tests.crypto.sanitizing

compare: $(VENV)/.dev
	@$(BIN)/python -m tests.crypto.comparing 10000000

# The environment has what is locked, and nothing of this folder but the wheel.
wheel: $(VENV)/.run
	@rm -rf build dist .venv-wheel
	@$(PIP) wheel -q --no-build-isolation --no-deps -w dist .
	@$(PYTHON) -m venv .venv-wheel
	@.venv-wheel/bin/python -m pip --disable-pip-version-check --no-input install -q --require-hashes \
	    -r requirements.lock
	@.venv-wheel/bin/python -m pip --disable-pip-version-check --no-input install -q --no-deps dist/*.whl
	@cd dist && ../.venv-wheel/bin/onionshh --version && ../.venv-wheel/bin/onionshh demo
	@! $(BIN)/python -c 'import onionshh.crypto._uiv' 2>/dev/null || \
	    ( cd dist && ../.venv-wheel/bin/python -c 'import onionshh.crypto._uiv' )  # else it was left out in silence
	@rm -rf .venv-wheel

reference: $(VENV)/.dev
	@$(BIN)/python -m tests.reference

bench: $(VENV)/.bench
	@$(BIN)/python -m tests.benchmarks

# uv resolves for every platform and every Python from 3.11 on, and writes the hashes of all published files.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

lock:
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip install -q uv
	@$(COMPILE) --group build pyproject.toml -o requirements.lock
	@$(COMPILE) --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	@$(COMPILE) --group build --group dev --group bench -c requirements-dev.lock pyproject.toml \
	    -o requirements-bench.lock
	@rm -rf .venv-lock
	@echo "wrote requirements.lock, requirements-dev.lock and requirements-bench.lock"

clean:
	rm -rf $(VENV) .venv-lock .venv-wheel build dist *.egg-info onionshh/crypto/_uiv*.so .mypy_cache \
	    .pytest_cache .ruff_cache .hypothesis .fuzz .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
