# What everybody runs. Nothing here touches your own units, your user manager or your home.
PYTHON := .venv/bin/python
MANAGER := tests/harness/user-manager

.PHONY: help setup demo test test-matrix lint bench deb acceptance check-deb clean

help:
	@echo "make setup        install what is missing, make .venv with keiji in it"
	@echo "make demo         the main job under a real user manager: three firings, logs, history, status"
	@echo "make test         all tests; ARGS='-k latch' hands options to pytest"
	@echo "make test-matrix  what may differ by them, on the oldest and newest Python and libraries"
	@echo "make lint         ruff and mypy"
	@echo "make bench        ratios to their floors; ONLY=cpu,drift measures these"
	@echo "make deb          dist/keiji_VERSION_all.deb, with the build dependencies from apt"
	@echo "make acceptance   that package on whole machines, Debian 12 and 13; ARGS=12 takes one of them"
	@echo "make check-deb    what lintian, piuparts and autopkgtest say of that package"
	@echo "make clean        remove what these targets made"

setup:
	@packaging/setup

demo: setup
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(MANAGER) tests/harness/demo

test: setup
	$(PYTHON) tests/harness/suite.py $(ARGS)

test-matrix:
	@packaging/setup matrix
	$(PYTHON) tests/harness/matrix.py $(ARGS)

lint: setup
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

bench: setup
	@$(MANAGER) $(PYTHON) tests/bench $(ONLY)

deb:
	@packaging/deb

acceptance:
	@/usr/bin/python3 -B tests/acceptance $(ARGS)

check-deb:
	@/usr/bin/python3 -B tests/acceptance/checks.py

clean:
	rm -rf .boxes 2>/dev/null || sudo rm -rf .boxes # what boots is root's
	rm -rf .venv .venvs build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
