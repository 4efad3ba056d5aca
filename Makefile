# audioprune: install, test, demonstrate, reproduce.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
RUNS   ?= runs
# TORCH_INDEX=<url of a wheel index> chooses another build of torch, for instance one for your GPU.
TORCH_INDEX ?=
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
APRUNE := $(BIN)/audioprune

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint report clean reproduce-p2

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

install: $(VENV)/.installed ## install into .venv (again: nothing to do)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --editable .[dev]
	@touch $@

demo: install ## train, prune, quantize and score a speech enhancer on the embedded corpus (minutes)
	$(APRUNE) prune experiment=p2/fdnn_demo pipeline=p2_unstructured
	$(APRUNE) report runs=$(RUNS)/prune report=demo

test: install ## the default test suite
	$(BIN)/python -m pytest

test-slow: install ## every test, the long ones too
	$(BIN)/python -m pytest -m "slow or not slow"

lint: install ## style check
	$(BIN)/python -m ruff check audioprune tests scripts

report: install ## tables, figures and page of everything under runs/
	$(APRUNE) report runs=$(RUNS)

clean: ## remove runs, reports and caches (not the environment)
	rm -rf $(RUNS) reports build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -exec rm -rf {} +
