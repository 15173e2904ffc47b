# Two commands are enough: `make clean-slate` and `make test`. Both set themselves up.
.DEFAULT_GOAL := help
.PHONY: help setup clean-slate test test-15 test-16 test-17 test-clients lint types squawk check migration serve demo lock clean

VENV := .venv
PYTHON := $(VENV)/bin/python
# Wheels that pip has fetched, so that setting up again needs no network. uv keeps its own.
WHEELS ?= var/wheels
LOCK := requirements-dev.lock
# Processes that share the tests: one a core.
WORKERS ?= auto
# What a command's own process warns of is in what it says, where the tests look.
PYTEST := PYTHONWARNINGS=default $(PYTHON) -m pytest --numprocesses=$(WORKERS) --dist=worksteal

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / {printf "make %-24s %s\n", $$1, $$2}' Makefile

clean-slate: setup ## empty, rebuild, verify and prove both databases (embedded unless .env says otherwise)
	@$(PYTHON) manage.py clean_slate --no-input $(ARGS)

test: setup ## run the tests; ARGS='-k name' goes to pytest, ARGS='-m "not slow"' takes half the time
	@$(PYTEST) --ignore=tests/clients $(ARGS)

# 16 is in the wheel; 15 and 17 are found where the distribution's packages put them.
test-15 test-16 test-17: test-%: setup ## run the tests against that PostgreSQL, through URLs
	@PYTHONWARNINGS=default $(PYTHON) -m tests.on_server $* -- \
	    $(PYTHON) -m pytest --numprocesses=$(WORKERS) --dist=worksteal --ignore=tests/clients $(ARGS)

test-clients: setup ## run the real Better Auth and drizzle-kit; needs Node.js 20 or newer
	@PYTHONWARNINGS=default $(PYTHON) -m pytest tests/clients $(ARGS)

lint: setup ## style, and that imports run downward
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports --no-logo

types: setup ## mypy --strict
	@$(VENV)/bin/mypy .

squawk: setup ## read the SQL of the migrations for what locks or breaks (.squawk.toml says what is meant)
	@rm -rf var/squawk && mkdir -p var/squawk
	@for file in auth_app/migrations/0*.py data_app/migrations/0*.py; do \
	    app=$${file%%/*}; name=$$(basename $$file .py); \
	    database=auth; if [ $$app = data_app ]; then database=fltr; fi; \
	    $(PYTHON) manage.py sqlmigrate $$app $$name --database $$database > var/squawk/$$app.$$name.sql || exit 1; \
	done
	@for part in admin jwt organization two-factor; do \
	    FLTR_CONTRACT_EXTRAS=better-auth-$$part $(PYTHON) manage.py sqlmigrate better_auth_$$(echo $$part | tr - _) 0001_initial \
	        --database auth > var/squawk/better_auth_$$part.sql || exit 1; \
	done
	@$(VENV)/bin/squawk var/squawk/*.sql

check: lint types squawk test ## what must pass, but for the clients and the other servers that CI adds

migration: setup ## write the migrations of changed models and SQL functions, and the contract: NAME=add_holds
	@test -n "$(NAME)" || { echo "Name it: make migration NAME=add_holds" >&2; exit 2; }
	@$(PYTHON) manage.py makemigrations auth_app data_app --name $(NAME)
	@$(PYTHON) -m auth_app.ledger.freeze $(NAME)
	@$(VENV)/bin/ruff check --quiet --fix auth_app/migrations data_app/migrations
	@$(VENV)/bin/ruff format --quiet auth_app/migrations data_app/migrations
	@$(PYTHON) manage.py verify_schema --write-contract

# 8000 is where the FastAPI application is.
serve: setup ## the admin at http://localhost:8001/admin/
	@$(PYTHON) manage.py migrate --verbosity 0
	@$(PYTHON) manage.py first_staff
	@echo "The admin is at http://localhost:8001/admin/ (for something to look at: $(PYTHON) manage.py sample_data)"
	@$(PYTHON) manage.py runserver 8001

demo: setup ## both example applications and the admin, on ports 3000, 8000 and 8001; needs Node.js 20.9 or newer
	@$(PYTHON) examples/demo.py

setup: $(VENV)/.ready ## the virtual environment, from the lock file

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

lock: ## pin the dependencies anew, after pyproject.toml has changed (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	    --python-version 3.12 pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	    --python-version 3.12 --extra embedded --group dev pyproject.toml -o requirements-dev.lock

clean: ## remove the virtual environment, the caches and the tests' servers; the data in var/ stays
	@$(VENV)/bin/python manage.py postgres stop 2>/dev/null || true
	@rm -rf /dev/shm/clean-slate-tests-$$(id -u)-*
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
