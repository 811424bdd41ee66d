# Two commands: `make demo` shows that it works, `make test` proves it. Both need Python 3.11+, make and git.

VENV   := .venv
BIN    := $(VENV)/bin
# The first interpreter that runs, is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
PIP    := $(BIN)/python -m pip --disable-pip-version-check install

.PHONY: help demo test lint clean

help:
	@echo "make demo   install into $(VENV), then make the demo's videos in runs/demo"
	@echo "make test   install into $(VENV), then ruff, mypy and the tests"
	@echo "make clean  remove $(VENV) and caches (runs/ stays)"

demo: $(VENV)/.installed
	$(BIN)/motionecho batch submit manifests/demo.parquet --pair toy-dit --strategy moft --out runs/demo

# A process that crashes ends the tests: replaced, it would leave the rest waiting for it without end.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0 --cov --cov-report=term

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

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
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.*

NO_PYTHON := motionecho needs Python 3.11 or newer with its venv module, and none was found. \
	Install one (Debian, Ubuntu: apt install python3-venv) or name one: make demo PYTHON=/path/to/python3.12
define check_python
test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 2; }
endef
