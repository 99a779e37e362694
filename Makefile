# make serve   run the store from this checkout      ARGS="--flag ..." go to `kvstore serve`
# make test    everything a change must pass         ARGS="-k name ..." go to pytest
# make check   its quick part: format, lint, types, import directions
# make bench   the benchmarks                        ARGS go to `python -m bench`
# make proto   the modules of kvstore.proto, from protos/
# make dist    the wheel and the source archive of a release, in dist/
# make lock    requirements/: the versions that development and CI use, with their hashes
# make etcd    install Debian's etcd and etcdctl, which the tests compare with
# make kubernetes          the programs of Kubernetes, built with Go (a quarter of an hour, once)
# make example-kubernetes  a control plane, an operator and GitOps on the store, told line by line
# make test-kubernetes     the proofs with them, which are not part of `make test`
# make clean   remove what the others made
# make help    these lines
#
# Everything is installed into .venv; a stamp file in it stands for each step that is done. What
# is slow says so before it begins.

VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package-installed
DEV := $(VENV)/.dev-installed
KUBERNETES := $(VENV)/.kubernetes-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
LOCKED := install --quiet --require-hashes --requirement
EDITABLE := install --quiet --editable .
RESOLVE := $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url

# The first Python that is new enough; looked up only when .venv is made.
PYTHON = $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		&& echo $$python && break; done)

.PHONY: help serve test check bench proto dist lock etcd kubernetes example-kubernetes \
	test-kubernetes clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

serve: $(PACKAGE)
	@$(BIN)/kvstore serve $(ARGS)

test: check etcd
	$(BIN)/python -m pytest -n auto $(ARGS)

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV)
	$(BIN)/python -m bench $(ARGS)

proto: $(DEV)
	$(BIN)/python protos/generate.py

dist: $(DEV)
	rm -rf dist
	$(BIN)/python -m build --no-isolation

# uv resolves for every version of Python at once; nothing else needs it.
lock: $(BIN)/python
	@echo "Looking up the newest versions (half a minute) ..."
	@$(PIP) install --quiet uv
	$(RESOLVE) --group dev --output-file requirements/dev.txt
	$(RESOLVE) --group kubernetes --constraint requirements/dev.txt \
		--output-file requirements/kubernetes.txt

etcd:
	@sh tests/support/install_etcd.sh

kubernetes: $(DEV)
	$(BIN)/python -m tests.kubernetes.build

# It builds the one version that it needs, as `make kubernetes` builds them all.
example-kubernetes: $(KUBERNETES)
	@$(BIN)/python -m examples.kubernetes.story $(ARGS)

test-kubernetes: kubernetes $(KUBERNETES)
	CI=true $(BIN)/python -m pytest tests/kubernetes $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "kvstore needs Python 3.11 or newer (Debian, Ubuntu: apt-get install python3-venv)" >&2; \
		exit 1; }
	@echo "Making a virtual environment in $(VENV) (some seconds) ..."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(PACKAGE): pyproject.toml | $(BIN)/python
	@echo "Installing kvstore and the libraries it needs into $(VENV) (a minute or two, once) ..."
	@$(PIP) $(EDITABLE)
	@touch $@

# Nothing that development runs comes without a hash: the build backend is among what is locked.
$(DEV): pyproject.toml requirements/dev.txt | $(BIN)/python
	@echo "Installing what development and tests need into $(VENV) (two to four minutes, once) ..."
	@$(PIP) $(LOCKED) requirements/dev.txt
	@$(PIP) $(EDITABLE) --no-deps --no-build-isolation
	@touch $@ $(PACKAGE)

$(KUBERNETES): requirements/kubernetes.txt $(DEV)
	@echo "Installing the Kubernetes clients into $(VENV) (a minute, once) ..."
	@$(PIP) $(LOCKED) requirements/kubernetes.txt
	@touch $@
