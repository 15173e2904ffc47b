# Two commands are enough: `make clean-slate` and `make test`. Both set themselves up.
.DEFAULT_GOAL := help
.PHONY: help setup clean-slate test test-15 test-16 test-17 test-clients lint types check serve lock clean

VENV := .venv
PYTHON := $(VENV)/bin/python
# Wheels that pip has fetched, so that setting up again needs no network. uv keeps its own.
WHEELS ?= var/wheels
LOCK := requirements-dev.lock

help:
	@echo "make clean-slate   empty, rebuild, verify and prove both databases (embedded unless .env says otherwise)"
	@echo "make test          run the tests; ARGS='-k name' passes arguments on to pytest"
	@echo "make test-16       run the tests against PostgreSQL 16, through URLs"
	@echo "make test-clients  run the real Better Auth and drizzle-kit; needs Node.js 20 or newer"
	@echo "make check         lint, types and tests, as CI does"
	@echo "make serve         the admin at http://localhost:8000/admin/"
	@echo "make lock          pin the dependencies anew, after pyproject.toml has changed (needs uv)"
	@echo "make clean         remove the virtual environment and the caches; the data in var/ stays"

clean-slate: setup
	@$(PYTHON) manage.py clean_slate --no-input $(ARGS)

test: setup
	@PYTHONDEVMODE=1 $(PYTHON) -m pytest --ignore=tests/clients $(ARGS)

# 16 is in the wheel; 15 and 17 are found where the distribution's packages put them.
test-15 test-16 test-17: test-%: setup
	@PYTHONDEVMODE=1 $(PYTHON) -m tests.on_server $* -- \
	    $(PYTHON) -m pytest --ignore=tests/clients $(ARGS)

test-clients: setup
	@PYTHONDEVMODE=1 $(PYTHON) -m pytest tests/clients $(ARGS)

lint: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: setup
	@$(VENV)/bin/mypy .

check: lint types test

serve: setup
	@$(PYTHON) manage.py migrate --verbosity 0
	@$(PYTHON) manage.py runserver

setup: $(VENV)/.ready

# uv where it is, else the first Python that is new enough; `.python-version` is only a wish.
$(VENV)/.ready: $(LOCK)
	@set -e; \
	if command -v uv >/dev/null 2>&1; then \
	    echo "Setting up $(VENV) with uv ..."; \
	    uv venv --quiet --allow-existing --no-python-downloads --python '>=3.12' $(VENV); \
	    uv pip sync --quiet --offline --require-hashes --python $(PYTHON) $(LOCK) 2>/dev/null \
	    || uv pip sync --quiet --require-hashes --python $(PYTHON) $(LOCK); \
	else \
	    for python in python3.14 python3.13 python3.12 python3 none; do \
	        if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi; \
	    done; \
	    if [ "$$python" = none ]; then \
	        echo "Python 3.12 or newer is needed and was not found. Install it, or uv, and run make again." >&2; exit 2; \
	    fi; \
	    echo "Setting up $(VENV) with $$($$python --version) ..."; \
	    "$$python" -m venv --clear $(VENV) || { \
	        echo "$$python cannot make virtual environments. Install its venv package (Debian: python3-venv) and run make again." >&2; exit 2; }; \
	    install="$(PYTHON) -m pip --disable-pip-version-check --quiet install --require-hashes --no-deps"; \
	    mkdir -p $(WHEELS); \
	    $$install --no-index --find-links $(WHEELS) -r $(LOCK) >/dev/null 2>&1 || { \
	        $(PYTHON) -m pip --disable-pip-version-check --quiet download --require-hashes --no-deps --dest $(WHEELS) -r $(LOCK); \
	        $$install --no-index --find-links $(WHEELS) -r $(LOCK); }; \
	fi
	@touch $@

lock:
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	    --python-version 3.12 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	    --python-version 3.12 --extra embedded --group dev pyproject.toml -o requirements-dev.lock

clean:
	@$(VENV)/bin/python manage.py postgres stop 2>/dev/null || true
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
