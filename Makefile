# Everything a newcomer types. Nothing has to be installed by hand but Python 3.11+ and make.
PYTHON  ?= python3
TORCH   ?= torch==2.13.0
STUDY   ?= laptop
STORAGE ?= storage
ARGS    ?=
PORT    ?= 5000

BIN   := .venv/bin
STAMP := .venv/installed

# Which tests share a process is said in tests/conftest.py.
IN_PARALLEL := --no-loadscope-reorder -n

# Small CPU models are slower with two OpenMP threads that contend than with one.
export OMP_NUM_THREADS ?= 1

# pip compiles what it installs: Ray's first start would do it instead, and ends after 30 s.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install study test storms lint unit docs ui clean

help:  ## show this list
	@echo "usage: make TARGET [STUDY=$(STUDY)] [STORAGE=$(STORAGE)] [ARGS='--set trials.steps=90']"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-9s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## the environment in .venv (about 4 minutes once; then nothing)

# torch goes first and alone: the constraints name its version but not its build, so the build that
# this step chose (CPU or CUDA; override with TORCH=...) is kept by everything installed after it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.11")'
	test -f $(BIN)/activate || $(PYTHON) -m venv .venv  # written last of what venv writes
	$(PIP_INSTALL) "$(TORCH)"
	$(PIP_INSTALL) -e '.[dev]' -c constraints.txt
	touch $@

study: install  ## the quick control (is what was planted found?), then a study: text to report
	$(if $(filter control%,$(STUDY)),,$(BIN)/python jobs/full_study.py --study control-quick --storage "$(STORAGE)")
	$(BIN)/python jobs/full_study.py --study $(STUDY) --storage "$(STORAGE)" $(ARGS)

test: lint  ## style, types, and all tests but the storms
	$(BIN)/python -m pytest $(IN_PARALLEL) 3 --durations=10

storms: install  ## the long tests: kills of trainings and evaluations, nodes that come and go (15 minutes)
	$(BIN)/python -m pytest -m storm --durations=0

unit: install  ## the tests that need no Ray: minutes
	$(BIN)/python -m pytest tests/unit $(IN_PARALLEL) 2

lint: install  ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: install  ## the documentation as a site in build/docs; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs
	@echo "open build/docs/index.html"

ui: install  ## MLflow on http://127.0.0.1:5000 (PORT=...), opened at the studies of the storage
	$(BIN)/python jobs/ui.py --storage "$(STORAGE)" --port $(PORT)

clean:  ## remove caches and build products; results and the environment stay
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
