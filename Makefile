# Each target does all the set-up that it needs: git, make and Python 3.11 or newer with venv are enough.
VENV := .venv
AUDIT := .audit
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
ARGS ?=

# SQLite waits for the disk at every commit. Tests that end processes, and never the machine, need not: their files are
# in memory where there is room for them. MESSAGELOG_FILES=/tmp has them on a disk.
MESSAGELOG_FILES ?= $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'END { print $$4 }')" -gt 2000000 ] && echo /dev/shm)
FILES = $(if $(MESSAGELOG_FILES),PYTEST_DEBUG_TEMPROOT=$(MESSAGELOG_FILES))

.PHONY: demo test test-system prove prove-crashes prove-machine prove-system mutants bench check audit format requirements clean

demo: $(VENV)/.run
	$(BIN)/messagelog demo $(ARGS)

# Four processes on two cores: tests wait for more than they compute.
test: $(VENV)/.dev
	$(FILES) $(BIN)/pytest -n 4 --dist worksteal --ignore=tests/system $(ARGS)

# What is real and slower: processes that are killed, several servers, a browser. Then what uses sockets once more, on
# asyncio's event loop: the one that ships, uvloop, is what all other tests run on.
test-system: $(VENV)/.dev
	$(BIN)/pytest -n 3 tests/system $(ARGS)
	MESSAGELOG_LOOP=asyncio $(FILES) $(BIN)/pytest -n 4 --dist worksteal tests/storage tests/server tests/connectors

# The long runs, one part after the other: within forty minutes on two cores. Each part may be run by itself.
prove:
	status=0; for part in crashes machine system; do $(MAKE) prove-$$part || status=1; done; exit $$status

# Every schedule of one crash, and many of two; all of two with MESSAGELOG_PAIRS=all.
prove-crashes: $(VENV)/.dev
	MESSAGELOG_PROVE=1 $(FILES) $(BIN)/pytest -n 3 --dist worksteal tests/crash $(ARGS)

# The state machine, from another seed each time.
prove-machine: $(VENV)/.dev
	MESSAGELOG_PROVE=1 $(BIN)/pytest -n 2 tests/machine $(ARGS)

# Real processes, again and again. They wait for more than they compute.
prove-system: $(VENV)/.dev
	MESSAGELOG_PROVE=1 MESSAGELOG_ROUNDS=12 $(BIN)/pytest -n 3 tests/system $(ARGS)

# Takes the safeguards out one at a time: each must make a named test red.
mutants: $(VENV)/.dev
	$(BIN)/python -m mutants $(ARGS)

# Side by side with the Node peer, which it installs with npm into .bench/.
bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known advisories about all pinned requirements. It needs the network; 1: there are some, 3: nobody could be asked.
audit: $(AUDIT)/.made
	$(AUDIT)/bin/python -m audit

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Compiles the pinned, hashed requirements from pyproject.toml.
requirements: $(VENV)/.dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		requirements/audit.in -o requirements/audit.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		--extra dev pyproject.toml -o requirements/dev.txt

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python requirements/build.txt requirements/run.txt pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt -r requirements/run.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

$(AUDIT)/.made: requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/audit.txt
	touch $@

clean:
	rm -rf $(VENV) $(AUDIT) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
