# `make demo` shows that it works, `make test` proves it; `make help` has the rest. All need Python 3.11+, make and git.

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that runs, is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
LOWEST := .venv-lowest
PIP    := $(BIN)/python -m pip --disable-pip-version-check install

.PHONY: help demo test lint lowest lock docs clean

help:
	@echo "make demo   install into $(VENV), then make the demo's videos in runs/demo"
	@echo "make test   install into $(VENV), then ruff, mypy and the tests"
	@echo "make lowest the quick tests, on the lowest versions that pyproject.toml allows, in $(LOWEST)"
	@echo "make docs   the documentation as a site, in site/"
	@echo "make lock   cluster/requirements.lock anew: what the tests ran with, for the image"
	@echo "make clean  remove $(VENV), $(LOWEST) and caches (runs/ stays)"

demo: $(VENV)/.installed
	$(BIN)/motionecho batch submit manifests/demo.parquet --pair toy-dit --strategy moft --out runs/demo

# A process that crashes ends the tests: replaced, it would leave the rest waiting for it without end.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0 --cov --cov-report=term

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

# What needs no cluster and no browser: minutes. torch and torchvision are as new as pip takes them.
lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pip --disable-pip-version-check list
	$(LOWEST)/bin/python -m pytest -q --ignore tests/pipelines --ignore tests/simulation \
		--ignore tests/report/test_in_a_browser.py --ignore tests/study/test_study_in_a_browser.py

$(LOWEST)/.installed: pyproject.toml
	@$(check_python)
	@test -x $(LOWEST)/bin/python || "$(PYTHON)" -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip --disable-pip-version-check install uv torch torchvision
	$(LOWEST)/bin/python -m pip freeze | grep '^torch' > $(LOWEST)/torch.txt
	$(LOWEST)/bin/uv pip compile pyproject.toml --extra dev --resolution lowest-direct --quiet \
		--constraint $(LOWEST)/torch.txt --python $(LOWEST)/bin/python --output-file $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --requirement $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --no-deps --editable .
	@touch $@

# Versions and hashes for the image's Python, constrained to what is in $(VENV): the tests ran with that.
lock: $(VENV)/.installed-dev
	$(PIP) uv
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/tested.txt
	$(BIN)/uv pip compile pyproject.toml --extra s3 --extra gcs --extra azure --extra web --extra jobs \
		--constraint $(VENV)/tested.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--generate-hashes --no-annotate --upgrade --custom-compile-command "make lock" \
		--output-file cluster/requirements.lock

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The stamps say what is installed, so that a second call installs nothing until pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	@$(check_python)
	@echo "Installing into $(VENV). PyTorch is large: this takes some minutes the first time."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@$(check_python)
	@echo "Installing into $(VENV). PyTorch is large: this takes some minutes the first time."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(PIP) -e ".[dev]"
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) $(LOWEST) site .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*

NO_PYTHON := motionecho needs Python 3.11 or newer with its venv module, and none was found. \
	Install one (Debian, Ubuntu: apt install python3-venv) or name one: make demo PYTHON=/path/to/python3.12
define check_python
test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 2; }
endef
