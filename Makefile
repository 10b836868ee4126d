# A fresh machine needs Python 3.11 or newer, git and make, and nothing else: each target sets up what it needs.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
STAMP := .venv/.ready
JOBS ?= auto
PORT ?= 8000

.PHONY: help setup tour book test lint golden measure browser worlds crash fuzz sweep trace bench interop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the tools (done once, and again when pyproject.toml changes)
	@echo "setup: .venv is ready"

$(STAMP): pyproject.toml tests/find_python.sh
	@python=$$(sh tests/find_python.sh $(PYTHON)) || exit 1; \
	echo "setup: .venv with $$("$$python" --version)"; \
	$(PY) -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear .venv || exit 1; \
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' && touch $@

tour: $(STAMP) ## January 2013 through the whole broker, in one terminal
	@$(PY) -m chapters.tour

book: $(STAMP) ## build the book and serve it on this machine (PORT=8000), anew with every change
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --strict --dev-addr 127.0.0.1:$(PORT)

test: $(STAMP) ## every test of the suite, on all cores (JOBS=2 for two)
	@$(PY) -m pytest -q -n $(JOBS)

lint: $(STAMP) ## ruff and mypy
	@$(PY) -m ruff check .
	@$(PY) -m mypy

golden: $(STAMP) ## remake every deterministic output that the book shows
	@$(PY) -m tests.golden

measure: $(STAMP) ## remake docs/measured.toml: every figure that was measured
	@$(PY) -m tests.measure
	@$(PY) -m docs.weave

browser: $(STAMP) ## the book in headless Chromium: errors, other hosts, sideways scrolling
	@$(PY) -m tests.browser

worlds: $(STAMP) ## one seed, one journal: every Python here, three hash seeds, Pyodide in Node
	@$(PY) -m tests.worlds

crash: $(STAMP) ## a crash at every disk call of every scenario; then kill -9 of real brokers, 200 times
	@$(PY) -m tests.crash
	@$(PY) -m tests.kill --times 200

fuzz: $(STAMP) ## a million damaged frames, records, files and answers
	@$(PY) -m tests.fuzz

sweep: $(STAMP) ## new seeds: the same scenarios under faults that nobody chose
	@$(PY) -m tests.sweep

trace: $(STAMP) ## the system calls of a real broker: what is synced before it answers (needs strace)
	@$(PY) -m tests.syscalls

bench: $(STAMP) ## how fast, beside what this machine can do; BENCH='--oracle' adds the real broker (Java, Maven)
	@$(PY) -m tests.bench $(BENCH)

interop: $(STAMP) ## clients and servers that nobody here wrote, against ours (needs Java, Maven, Node)
	@$(PY) -m tests.interop

clean: ## remove what can be made again (.venv, build); work/ is yours and stays
	@rm -rf .venv build dist site .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
