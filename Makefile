# `make quickstart` and `make test` each set up their own environment the first time.
PYTHON ?= python3
VENV ?= .venv
# Two intra-op threads beside another process are many times slower than one.
export OMP_NUM_THREADS ?= 1

BIN := $(VENV)/bin
STAMP := $(VENV)/.structkd-installed

.PHONY: quickstart test test-triton lint clean

quickstart: $(STAMP)
	$(BIN)/structkd run sample/quickstart $(OPTIONS)

test: lint
	$(BIN)/python -m pytest -q $(OPTIONS)

# The CUDA kernels without a GPU: interpreted, and compiled for sm_90.
test-triton: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[triton]"
	$(BIN)/python -m pytest -q tests/kernels/test_triton.py tests/kernels/test_triton_compiled.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMP): setup.cfg pyproject.toml constraints.txt setup.py $(wildcard structkd/kernels/csrc/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
