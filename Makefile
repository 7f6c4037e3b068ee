# The commands of this repository; `make` alone lists them. Each makes or updates .venv first where that is needed.

BIN := .venv/bin
ARGS ?=
# Processes that share the tests, which mostly wait for processes of their own; more are faster, and make more noise.
TESTERS ?= 2
KUBE_ASSETS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/matrixinfer/kube-assets/debian-12

.DEFAULT_GOAL := help
.PHONY: help up test check bench fmt docs kube-assets clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/installed ## start the platform on this machine; options by ARGS="--engine simulated --replicas 3"
	@$(BIN)/matrixinfer up $(ARGS)

test: .venv/installed-dev ## run every test; some of them by ARGS="tests/unit -k subjects"
	@$(BIN)/python -m pytest -n $(TESTERS) --dist=loadgroup $(ARGS)

check: .venv/installed-dev ## lint, types, import contracts and the tests of the architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/architecture

bench: .venv/installed-dev ## measure the request path on this machine and print the table
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

fmt: .venv/installed-dev ## format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed-dev ## make the pages that are made from the code
	$(BIN)/python scripts/settings_table.py > docs/settings.md.new
	@mv docs/settings.md.new docs/settings.md
	$(BIN)/python scripts/resources_page.py > docs/resources.md.new
	@mv docs/resources.md.new docs/resources.md

kube-assets: ## build a Kubernetes control plane for the tests out of Debian's packages; minutes, once
	@timeout 30m scripts/kube-assets $(KUBE_ASSETS)

clean: ## remove .venv and every cache; models and data stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed, as of which pyproject.toml. The development set holds all that running needs.
.venv/installed: pyproject.toml scripts/venv
	@scripts/venv .
	@touch $@

.venv/installed-dev: pyproject.toml scripts/venv
	@scripts/venv '.[dev]'
	@touch .venv/installed $@
