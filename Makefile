# Each target sets everything up by itself in .venv; only Python >= 3.10 and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint

help:
	@echo "make demo   render people, train both stages, evaluate, save pictures (output/demo)"
	@echo "make test   run the tests"
	@echo "make bench  measure how fast everything is (output/benchmarks/latest.json)"
	@echo "make lint   check the style"

demo: $(VENV)/ready
	$(BIN)/python configs/demo.py

test: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

bench: $(VENV)/ready
	$(BIN)/python benchmarks/run.py

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The stamp depends on the lists of requirements, so that a changed list is installed again.
$(VENV)/ready: requirements.txt setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[render,h36m,3dhp,dev]"
	touch $@
