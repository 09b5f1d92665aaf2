# Everything a newcomer needs. `make demo` and `make test` set up what they need, once.

VENV := .venv
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo dev quick test check bench faults walks security fuzz clean

help:
	@echo 'make demo    run the example on an embedded stack'
	@echo 'make dev     keep the stack running until Ctrl-C (ARGS="--port 0 --verbose")'
	@echo 'make quick   the tests that need neither PostgreSQL nor Temporal nor another process'
	@echo 'make test    all tests (ARGS="tests/stack -x" for some of them)'
	@echo 'make check   formatting, lint, types, layers'
	@echo 'make bench   measure against a hand-written Temporal loop and other products (ARGS=--quick)'
	@echo 'make faults  kill, starve and cut off every part, and look at what survives (ARGS="kill-api --runs 8")'
	@echo 'make walks   walk at random through all that can happen to a run, for half an hour'
	@echo 'make security  flood a real process, and search every file for secrets'
	@echo 'make fuzz    make up requests and chains of them, for ten minutes (ARGS="--minutes 1")'
	@echo 'make setup   only build $(VENV)'
	@echo 'make clean   remove what was built; runs and their data in .perdure/ stay'

setup: $(READY)

demo: $(READY)
	@$(VENV)/bin/python -m examples.demo $(ARGS)

dev: $(READY)
	@exec $(VENV)/bin/perdure dev $(ARGS)

# Several at a time, a file to each. Bytecode is kept even where the environment forbids it: some hundred processes are
# started, and each would compile the whole product, and pytest its plugins.
quick test: export PYTHONDONTWRITEBYTECODE :=

# Some of these wait for a limit to pass. Their files, which nobody needs afterwards, are in memory where there is room.
quick: export TMPDIR := $(shell [ "$$(df -Pk /dev/shm | awk 'NR == 2 { print $$4 }')" -gt 1000000 ] && echo /dev/shm || echo /tmp)
quick: $(READY)
	@$(VENV)/bin/python -m pytest --quick -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Most of the others wait for processes and databases. Files come in the order of tests/support/tiers.py, slow tiers first.
test: $(READY)
	@$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/pyright
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(READY)
	@$(VENV)/bin/python -m benchmarks $(ARGS)

faults: $(READY)
	@$(VENV)/bin/python -m tests.faults $(ARGS)

# Written last, so that an interrupted installation is taken up again.
$(READY): constraints.txt pyproject.toml sdk/pyproject.toml .ci/setup
	@sh .ci/setup $(VENV)
	@touch $@

walks: $(READY)
	@$(VENV)/bin/python -m pytest tests/orchestrator/store/walks --hypothesis-profile=walks --timeout=0 $(ARGS)

security: $(READY)
	@$(VENV)/bin/python -m pytest -m security -s tests/security $(ARGS)

fuzz: $(READY)
	@$(VENV)/bin/python -m tests.security.fuzz $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +
