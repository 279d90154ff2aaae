# make demo, make test: each builds .venv from constraints.txt first. PYTHON names another interpreter (3.10 to 3.12).
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

# threads that wait by spinning for long make training on shared cores many times slower
export GOMP_SPINCOUNT ?= 1000

.PHONY: help install demo test test-slow bench lint clean

help:            ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: $(STAMP) ## build .venv with everything that demo and tests need

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,export,tracking]'
	touch $@

demo: $(STAMP)   ## phantoms, training, evaluation, prediction: a few minutes on two cores
	$(BIN)/tinylesions demo --out demo

test: $(STAMP)   ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

test-slow: $(STAMP) ## the tests that need minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2

bench: $(STAMP)  ## side by side with MONAI, scikit-learn and torchmetrics; FULL=1 for full sizes
	$(BIN)/python -m benchmarks $(if $(FULL),,--quick)

lint: $(STAMP)   ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target build/typed .
	MYPYPATH=build/typed $(BIN)/python -m mypy -p tinylesions

clean:           ## remove what the targets made
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache *.egg-info
