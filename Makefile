# make        the environment (.venv), once
# make demo   the product on a small scale
# make test   lint, types, tests
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/bin/uv)
STAMP := $(VENV)/.stamp-$(shell cat pyproject.toml constraints.txt overrides.txt | cksum | cut -d' ' -f1)

.PHONY: all env demo test lint types docs constraints clean

all: env

env: $(STAMP)

# uv is taken from the system, or installed into the environment. A second call does nothing.
$(STAMP):
	@command -v uv >/dev/null 2>&1 || test -x $(VENV)/bin/uv || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install -q uv; }
	@test -x $(BIN)/python || $(UV) venv -q --python ">=3.11" $(VENV)
	@for d in baselines benchmarks leaderboard; do test -e rainrag/$$d || ln -s ../$$d rainrag/$$d; done  # an sdist has no links
	@echo "installing into $(VENV) (several GB, once)"
	@$(UV) pip install -q --python $(BIN)/python -c constraints.txt --override overrides.txt -e '.[all,dev]'
	@rm -f $(VENV)/.stamp-* && touch $@

demo: env
	@$(BIN)/rainrag demo
	@echo "The command 'rainrag' lies in $(BIN): source $(BIN)/activate"

test: env lint types
	@$(BIN)/python -m pytest -n 2 --dist worksteal -rs

lint: env
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: env
	@$(BIN)/mypy

docs: env
	@$(BIN)/mkdocs build --strict -q

# New versions: resolves anew, writes names and versions only.
constraints:
	@$(UV) pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --override overrides.txt \
	  --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o constraints.txt.new
	@{ echo '# Versions that were tested together. Made by "make constraints"; no addresses, no local version suffixes.'; \
	  grep -v "sys_platform == 'never'" constraints.txt.new; } > constraints.txt && rm constraints.txt.new

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
