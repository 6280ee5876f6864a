# make demo       set up and stream the sample video
# make test       set up and pass the tests
# make test-quick a part of them that touches most rooms, in under a minute
# make test-slow  the tests that take minutes
# make fuzz       mutated files for every reader, MINUTES=1 each
# make sbom       the software bill of materials of this environment, dist/co3d.cdx.json
# make docs       the documentation site, dist/docs/index.html; warnings are errors
# make wheel      a pure wheel, and on Linux one with compiled kernels, in dist/
# make format     format and mend what ruff can mend
# make check      format, lint, types, file sizes
# make bench      speed against the clip network in the same run, state, memory and start-up

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What was installed once serves, even where pyproject.toml is newer: only `make test` installs again.
INSTALLED = $(if $(wildcard $(STAMP)-dev),,$(STAMP)-dev)
# Tests start this package over a hundred times, which takes a second longer without compiled files.
export PYTHONDONTWRITEBYTECODE :=
QUICK := tests/test_*.py tests/models tests/property/test_public_arguments.py \
	tests/compiler/test_convert.py tests/compiler/test_pipeline.py \
	tests/runtime/test_choice.py tests/engine/test_mailbox.py tests/engine/test_scheduler.py \
	tests/export/test_description.py tests/cli/test_main.py tests/cli/test_networks.py

.PHONY: demo test test-quick test-slow fuzz sbom docs wheel format check bench clean

demo: $(STAMP)
	$(BIN)/co3d demo

test: $(STAMP)-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-quick: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(QUICK)

test-slow: $(STAMP)-peers $(STAMP)-deployment $(STAMP)-ray
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

fuzz: $(STAMP)-dev
	PYTHONPATH=tests $(BIN)/python -m hostile.readers.fuzz $(or $(MINUTES),1)
	PYTHONPATH=tests $(BIN)/python -m hostile.media_fuzz $(or $(MINUTES),1)

# In an environment of its own, so that the tool does not list itself.
sbom: $(STAMP)
	$(BIN)/python -m venv $(VENV)/sbom
	$(VENV)/sbom/bin/python -m pip install -q 'cyclonedx-bom>=7,<8'
	mkdir -p dist
	$(VENV)/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
		--output-reproducible -o dist/co3d.cdx.json $(BIN)/python

docs: $(STAMP)-docs
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs dist/docs

wheel: $(INSTALLED) docs
	$(BIN)/python scripts/build_wheel.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python scripts/check_file_sizes.py

bench: $(STAMP)-dev $(STAMP)-continual
	$(BIN)/co3d bench x3d_m --precision float32,bfloat16,int8 --clips \
		--peer continual-inference --output docs/results
	$(BIN)/co3d bench x3d_s x3d_l slow_r50 --precision float32,bfloat16 \
		--peer continual-inference --output docs/results/others
	$(BIN)/co3d bench i3d_r50 --rate native --precision float32,bfloat16 \
		--peer continual-inference --output docs/results/native
	$(BIN)/python scripts/bench_stream.py --output docs/results
	$(BIN)/python scripts/bench_slots.py --output docs/results

clean:
	rm -rf $(VENV) demo

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "co3d needs Python 3.10 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(STAMP)-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,training,tune,watch,serving,evaluation,umap,onnxruntime,openvino]'
	touch $@ $(STAMP)

$(STAMP)-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs,watch]'
	touch $@

# Networks of other projects, in a folder of their own: torchvision breaks what finds it beside
# a build of torch that it was not made for.
$(STAMP)-peers: requirements-peers.txt $(STAMP)-dev $(STAMP)-continual
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[triton]'
	$(BIN)/python -m pip install -q --no-deps --upgrade --target $(VENV)/peers -r $<
	command -v npm >/dev/null && npm install --silent --ignore-scripts --prefix $(VENV) onnxruntime-node || true
	touch $@

$(STAMP)-deployment: requirements-deployment.txt pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/deployment
	$(VENV)/deployment/bin/python -m pip install -q -c constraints.txt -e . -r $<
	touch $@

# Ray in an environment of its own, which finds all else in this one and changes nothing there.
$(STAMP)-ray: $(STAMP)-dev
	$(BIN)/python -m venv $(VENV)/ray
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(" + repr(sysconfig.get_path("purelib")) + ")")' \
		> $$(echo $(VENV)/ray/lib/python*/site-packages)/outer.pth
	$(VENV)/ray/bin/python -m pip install -q -c constraints.txt 'ray[data,serve]>=2.60'
	touch $@

$(STAMP)-continual: $(STAMP)-dev
	$(BIN)/python -m pip install -q --no-deps continual-inference==1.2.4
	touch $@
