PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

ATTACKS ?= 20000

.PHONY: attack venv demo test test-fast lint bench results docs
venv: $(VENV)/.installed
$(VENV)/.installed: setup.py wage_tf/native/build.py $(wildcard wage_tf/native/src/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

demo: venv
	$(BIN)/python train.py --run-dir runs/demo --overwrite

test: venv
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

lint: venv
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

attack: venv
	PYTHONPATH=.:tests $(BIN)/python -m attacks --count $(ATTACKS)

bench: venv
	$(BIN)/python -m benchmarks

results: venv
	$(BIN)/python -m experiments.report
