# What a newcomer types. Needs nothing but make and Python 3.11 or newer with pip; everything else,
# the database too, is installed into this folder.

.DEFAULT_GOAL := help
.PHONY: help install run demo admin test test-newest mutate bench lint clean messages openapi requirements

# The first Python that is new enough; `make PYTHON=/path/to/python3 …` takes another one.
PYTHON := $(or $(PYTHON),$(shell for candidate in python3.11 python3 python3.12 python3.13 python3.14; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$candidate" && break; done))
IN_VENV := .venv/bin/python
MANAGE := $(IN_VENV) manage.py

# The day at which the sample of customer activity ends.
SAMPLE := data/cdnow_activity.csv.gz
SAMPLE_NOW := 1998-07-01T06:00:00Z

# The database of `make demo`, which makes it anew.
DEMO := engagement_demo

# The database of `make admin`, which plays a demonstration in it; DATABASE_NAME names another one.
ADMIN := engagement_admin

# Where `make admin` listens.
PORT := 8000

# Tests in parallel, each process with its own database; `make test ARGS=-n0` runs them in one process.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal

# How many users are due in the benchmark.
SIZE := 10000

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' Makefile

install: ## Install everything into .venv; write .env when there is none
	@set -e; \
	if ! $(IN_VENV) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		if ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "make: Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; \
		fi; \
		echo "Making a Python environment in .venv."; \
		rm -rf .venv; \
		"$(PYTHON)" -m venv --without-pip .venv; \
	fi; \
	if ! cmp -s requirements/development.txt .venv/installed.txt; then \
		if ! "$(PYTHON)" -m pip --version >/dev/null 2>&1; then \
			echo "make: pip is missing; install it (on Debian: apt install python3-pip)." >&2; exit 1; \
		fi; \
		echo "Installing the requirements; this takes a minute."; \
		"$(PYTHON)" -m pip --python $(IN_VENV) install --quiet --disable-pip-version-check \
			--require-hashes --requirement requirements/development.txt; \
		cp requirements/development.txt .venv/installed.txt; \
	fi; \
	if [ ! -e .env ]; then cp .env.example .env; fi

run: install ## Load the sample of customer activity and run the daily job on it (ARGS="--json" and the like)
	@echo "Setting up the database."
	@$(MANAGE) migrate --verbosity 0
	@echo "Loading the sample: who was active when, up to $(SAMPLE_NOW)."
	@$(MANAGE) load_activity_log $(SAMPLE) --as-of $(SAMPLE_NOW)
	@echo "Running the daily job as if it were $(SAMPLE_NOW)."
	@LOG_LEVEL=ERROR $(MANAGE) run_engagement_daily --now $(SAMPLE_NOW) $(ARGS)

demo: install ## Show a goodbye from start to finish in a database of its own, with a stand-in for WhatsApp
	@$(MANAGE) dbshell -- --quiet -c 'DROP DATABASE IF EXISTS $(DEMO) WITH (FORCE)' -c 'CREATE DATABASE $(DEMO)'
	@DATABASE_NAME=$(DEMO) $(MANAGE) migrate --verbosity 0
	@DATABASE_NAME=$(DEMO) LOG_LEVEL=ERROR $(MANAGE) demo_delivery $(SAMPLE) --as-of $(SAMPLE_NOW)
	@echo
	@echo "See the same in the admin: make admin DATABASE_NAME=$(DEMO)"

admin: export DATABASE_NAME := $(or $(DATABASE_NAME),$(ADMIN))
admin: install ## Open the admin on this machine alone, with a first administrator and a demonstration (PORT=8000)
	@echo "Setting up the database $(DATABASE_NAME)."
	@echo "SELECT 'CREATE DATABASE $(ADMIN)' WHERE '$(DATABASE_NAME)' = '$(ADMIN)'" \
		"AND NOT EXISTS (SELECT FROM pg_database WHERE datname = '$(ADMIN)') \\gexec" \
		| DATABASE_NAME= $(MANAGE) dbshell -- --quiet
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) prepare_admin --sample $(SAMPLE) --as-of $(SAMPLE_NOW)
	@echo "The admin is at http://127.0.0.1:$(PORT)/admin/; stop it with Ctrl-C."
	@$(MANAGE) runserver 127.0.0.1:$(PORT)

# The tests start hundreds of processes, which start faster from bytecode, whatever the environment says.
test: install ## Run the tests (ARGS="-k opted_out", ARGS=--faults=full and the like)
	@PYTHONDONTWRITEBYTECODE= $(IN_VENV) -m pytest $(PARALLEL) $(ARGS)

test-newest: install ## Run the tests on the newest Python and Django that this machine can have
	@$(IN_VENV) -m nox -f tests/noxfile.py -s newest -- $(PARALLEL) $(ARGS)

mutate: install ## Break the rules and the services bit by bit, and see whether a test notices (ARGS=engagement/states.py)
	@cmp -s requirements/mutation.txt .venv/installed-mutation.txt || { \
		"$(PYTHON)" -m pip --python $(IN_VENV) install --quiet --disable-pip-version-check \
			--require-hashes --requirement requirements/mutation.txt && \
		cp requirements/mutation.txt .venv/installed-mutation.txt; \
	}
	@$(IN_VENV) -m tests.mutation $(ARGS)

bench: install ## Compare the job with one SQL statement and with other ways to write it (SIZE=100000)
	@$(IN_VENV) -m tests.bench --size $(SIZE) $(ARGS)

lint: install ## Check style, types and the direction of imports
	@$(IN_VENV) -m ruff check
	@$(IN_VENV) -m ruff format --check
	@$(IN_VENV) -m mypy
	@$(IN_VENV) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

clean: ## Stop the private database; delete its data, .venv and all caches
	@"$(or $(PYTHON),$(IN_VENV))" -m config.private_postgresql.stop
	@if [ -d mutants ]; then cd mutants && "$(or $(PYTHON),../$(IN_VENV))" -m config.private_postgresql.stop; fi
	@rm -rf mutants .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

messages: install ## Update and compile the catalogues of texts after a change of one; name those to translate
	@$(IN_VENV) -m tests.translations

openapi: install ## Write docs/openapi.json from the code of the HTTP API
	@DJANGO_SETTINGS_MODULE=config.settings $(IN_VENV) -c 'import django; django.setup(); \
		from django.core.management import call_command; \
		from ninja.management.commands.export_openapi_schema import Command; \
		call_command(Command(), api="engagement.api.views.api", indent=2, output="docs/openapi.json")'

requirements: ## Recompile the pinned requirements with uv (ARGS="--upgrade" for newer versions)
	@if ! "$(PYTHON)" -m uv --version >/dev/null 2>&1; then \
		echo "make: uv is missing; install it with: $(PYTHON) -m pip install uv" >&2; exit 1; \
	fi
	@set -e; cd requirements; for name in base production sentry plot development mutation; do \
		"$(PYTHON)" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(ARGS) --output-file $$name.txt $$name.in; \
	done
