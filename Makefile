# make demo       set up and stream the sample video
# make test       set up and pass the tests
# make test-slow  the tests that take minutes
# make check      format, lint, types, file sizes
# make bench      speed and memory, as ratios against the clip network in the same run

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-slow check bench clean

demo: $(STAMP)
	$(BIN)/co3d demo

test: $(STAMP)-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(STAMP)-peers
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

check: $(STAMP)-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python scripts/check_file_sizes.py

bench: $(STAMP)
	$(BIN)/python scripts/bench.py --output docs/results

clean:
	rm -rf $(VENV) demo

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "co3d needs Python 3.10 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(STAMP)-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,training,onnxruntime,openvino]'
	touch $@ $(STAMP)

$(STAMP)-peers: requirements-peers.txt $(STAMP)-dev
	$(BIN)/python -m pip install -q --no-deps -r requirements-peers.txt
	touch $@
