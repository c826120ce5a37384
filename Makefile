# Everything runs from .venv, which is built from the hashed lock; a newer lock or pyproject rebuilds it.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# One set of paths for the linter and the formatter; pyright reads its own from pyproject.toml.
SOURCES := pipelines assets tests benchmarks

.PHONY: demo test test-scale postgres deployment check prove dev lint clean lock install browser dictionary imports bench others wrk

demo: .venv/.installed
	$(BIN)/embed-analytics demo

# Several files at once; first those that measure, one test after another.
BESIDE := --numprocesses auto --maxprocesses 4 --dist loadfile

test: lint browser others wrk
	$(BIN)/python -m pytest -m alone
	$(BIN)/python -m pytest -m "not alone and not scale" $(BESIDE) --durations=20

# A team's set-up, with services of its own: minutes, and nothing beside it.
test-scale: .venv/.installed browser postgres deployment
	$(BIN)/python -m pytest -m scale

# What to run while you work: lint, types and the tests that take no seconds.
check: lint
	$(BIN)/python -m pytest -m "not slow and not scale" $(BESIDE)

# The tests of generated cases and of kills, with many more of them, from a seed that is printed; PROVE_SEED=... again.
prove: PROVE ?= 20
prove: PROVE_SEED := $(or $(PROVE_SEED),$(shell date +%s))
prove: .venv/.installed
	@echo "make prove PROVE=$(PROVE) PROVE_SEED=$(PROVE_SEED)"
	PROVE=$(PROVE) PROVE_SEED=$(PROVE_SEED) $(BIN)/python -m pytest -m prove --hypothesis-seed=$(PROVE_SEED)

dev: .venv/.installed
	$(BIN)/embed-analytics dev

lint: .venv/.installed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

install: .venv/.installed

# The UI test drives a real browser; Playwright's own download is not needed.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }

# What the files of docs/deploy/ are tested with.
DEPLOYMENT := docker-compose nginx-light openssl rsync shellcheck systemd
deployment:
	@dpkg --status $(DEPLOYMENT) >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $(DEPLOYMENT) >/dev/null; }

# docs/dictionary.md, from the comments in sql/; a test fails when it is stale.
dictionary: .venv/.installed
	$(BIN)/python -m pipelines.warehouse.dictionary

# docs/imports.md, from the imports themselves; a test fails when it is stale.
imports: .venv/.installed
	$(BIN)/python -m tests.imports.drawing

# Everything on one page, printed; PAGE=docs/performance.md also puts it there. `make bench-flatten` asks one question.
bench: others wrk
	$(BIN)/python -m benchmarks $(if $(PAGE),--page $(PAGE))

bench-%: others wrk
	$(BIN)/python -m benchmarks $*

# What the benchmarks compare with, in a virtual environment of its own.
others: .venv/.installed benchmarks/.cache/others/.installed

wrk:
	@command -v wrk >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk >/dev/null; }

benchmarks/.cache/others/.installed: benchmarks/others.lock
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $<
	@touch $@

# --no-deps: the lock is complete, and pip's resolver would only spend time finding that out.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Needs uv on the PATH; a lock names versions and hashes and no host. The extra `bench` has a lock of its own, without
# what the project itself depends on. A service's lock has what runs and what builds the wheel, without the tests.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
BENCH_EXTRA := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")
BUILD_SYSTEM := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock:
	$(LOCK) --extra test --extra report --extra postgres --extra evidence --output-file requirements.lock pyproject.toml
	$(PYTHON) -c '$(BUILD_SYSTEM)' | $(LOCK) --extra report --extra postgres --extra evidence --constraint requirements.lock --output-file docs/deploy/service.lock pyproject.toml -
	$(PYTHON) -c '$(BENCH_EXTRA)' | $(LOCK) --output-file benchmarks/others.lock -

clean:
	rm -rf .venv dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis demo-data benchmarks/.cache
