PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

ATTACKS ?= 20000

.PHONY: attack device-results device-test venv demo test test-fast lint bench results docs wasm
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

# The portable runtime for the page of `--to web`; the file is part of the package: make it anew when a source changes.
CLANG ?= clang
WASM ?= wage_tf/export/web/wage.wasm
RUNTIME = wage_tf/native/src
wasm:
	$(CLANG) --target=wasm32 -std=c99 -Os -Wall -Wextra -ffreestanding -nostdlib -I$(RUNTIME) \
		-Wl,--no-entry,--stack-first,--strip-all \
		-Wl,--export=wage_start,--export=wage_infer,--export=wage_train_step,--export=__heap_base \
		-o $(WASM) $(RUNTIME)/wage_net.c $(RUNTIME)/wage_portable.c wage_tf/export/web/browser.c
	chmod 644 $(WASM)

# Needs gcc-arm-none-eabi, gcc-riscv64-unknown-elf, qemu-system-arm and qemu-system-misc (Debian's names).
device-test: venv
	PYTHONPATH=.:tests $(BIN)/python -m devices

# Trainings by the exported C code, here and on the Cortex-M4; writes the tables of docs/devices.md.
DEVICE ?=
device-results: venv
	PYTHONPATH=.:tests $(BIN)/python -m experiments.device $(DEVICE)

bench: venv
	$(BIN)/python -m benchmarks

results: venv
	$(BIN)/python -m experiments.report
